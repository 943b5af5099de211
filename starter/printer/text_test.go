package printer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestCommandsCanBePastedIntoAShell(t *testing.T) {
	t.Parallel()
	require.Equal(t, "starter describe device web-7", Command("", "describe", "device", "web-7"))
	require.Equal(t, "starter get --field-selector=status.summary.status=ConflictPaused",
		Command(runbook.DefaultOrgID, "get", "--field-selector=status.summary.status=ConflictPaused"))
	require.Equal(t, "starter describe device web-7 --org 11111111-0000-0000-0000-000000000000",
		Command("11111111-0000-0000-0000-000000000000", "describe", "device", "web-7"))
	require.Equal(t, `starter resume device 'a b' --reason 'it'\''s $fine' --as '' --x '*' --y 'ü'`,
		Command("", "resume", "device", "a b", "--reason", "it's $fine", "--as", "", "--x", "*", "--y", "ü"))
	require.Equal(t, `starter describe device $'a\U0000001b[31m\'\\'`, Command("", "describe", "device", "a\x1b[31m'\\"),
		"a terminal does not act on a name")
}

func TestWordsForPeople(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	before := now.Add(-90 * time.Minute)
	require.Equal(t, "90m ago", Ago(now, &before))
	require.Equal(t, "<never>", Ago(now, nil))
	require.Equal(t, "<never>", Ago(now, &time.Time{}))
	require.Equal(t, "1 device", Count(1, "device"))
	require.Equal(t, "0 devices", Count(int64(0), "device"))
	require.Equal(t, "a=1,b=2", Pairs(map[string]string{"b": "2", "a": "1"}))
}
