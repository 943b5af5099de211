package printer

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"
	"github.com/stretchr/testify/require"

	"rollcall/inventory"
	"rollcall/runbook"
)

// watched is the IO of an operator whose screen has that width.
func watched(out io.Writer, width int, env map[string]string) IO {
	return IO{
		Stdout:     out,
		Env:        func(key string) (string, bool) { v, ok := env[key]; return v, ok },
		IsTerminal: func(w io.Writer) bool { return w == out },
		Size:       func(io.Writer) (int, int) { return width, 24 },
	}.ForPeople()
}

// longName ends with what tells it apart.
var longName = strings.Repeat("h", 51) + "2"

var (
	fleetHeaders = []string{"NAME", "ALIAS", "OWNER", "SYSTEM", "UPDATED", "APPLICATIONS", "LAST SEEN"}
	fleetRows    = [][]string{
		{longName, "lobby-entrance-west", "Fleet/kiosk", "AwaitingReconnect", "Unknown", "Healthy", "<never>"},
		{"門番門番門番門番門番門番門番門番門番門番門番", "<none>", "<none>", "Online", "UpToDate", "<none>", "3h ago"},
	}
)

func TestATableFitsTheScreen(t *testing.T) {
	t.Parallel()
	for _, width := range []int{80, 100, 120} {
		var out bytes.Buffer
		streams := watched(&out, width, map[string]string{"NO_COLOR": "1"})
		require.NoError(t, Table(streams.Stdout, fleetHeaders, fleetRows))
		for line := range strings.Lines(out.String()) {
			require.LessOrEqual(t, uniseg.StringWidth(strings.TrimSuffix(line, "\n")), width, out.String())
		}
		require.Contains(t, out.String(), "AwaitingReconnect", "a state is not cut")
		require.Regexp(t, `(?m)^h{10,}…h{8,}2 `, out.String(), "a name keeps its beginning and its end")
		require.NotContains(t, out.String(), "\x1b")
	}
	var piped, whole bytes.Buffer
	require.NoError(t, Table(&piped, fleetHeaders, fleetRows))
	require.Contains(t, piped.String(), longName, "a pipe gets all of it")
	screen := watched(&whole, 80, map[string]string{"NO_COLOR": "1"}).Stdout
	require.NoError(t, Table(Whole(screen), fleetHeaders, fleetRows))
	require.Equal(t, piped.String(), whole.String())
}

// The audit has more columns than a screen has room for: its names can still be told apart, and the last columns are
// left out.
func TestTheAuditFitsTheScreen(t *testing.T) {
	t.Parallel()
	headers, rows := TransitionRows([]inventory.TransitionRow{{
		At: time.Date(2026, 11, 29, 23, 59, 59, 0, time.UTC), Name: longName, Transition: runbook.T4,
		To: runbook.StateNormal, Reported: "1234567", Next: "1234568", Actor: "alice@example.com",
		Reason: "checked on site", RestoreID: "night",
		Who: inventory.Who{Identity: runbook.Authenticated, Via: "cli"},
	}})
	var out bytes.Buffer
	screen := watched(&out, 80, map[string]string{"NO_COLOR": "1"}).Stdout
	require.NoError(t, Table(screen, headers, rows))
	for line := range strings.Lines(out.String()) {
		require.LessOrEqual(t, uniseg.StringWidth(strings.TrimSuffix(line, "\n")), 80, out.String())
	}
	require.Regexp(t, `^AT +NAME +TRAN`, out.String())
	require.Regexp(t, `  h{8,}…h{6,}2 `, out.String())
	require.Contains(t, out.String(), "REAS")
	require.NotContains(t, out.String(), "RESTORE")
	var piped bytes.Buffer
	require.NoError(t, Table(&piped, headers, rows))
	require.Contains(t, piped.String(), "night", "a pipe gets all of it")
}

func TestStatesHaveColoursOnATerminalOnly(t *testing.T) {
	t.Parallel()
	draw := func(env map[string]string) string {
		var out bytes.Buffer
		text := func(w io.Writer) error { return Table(w, fleetHeaders, fleetRows) }
		require.NoError(t, AtOnce(watched(&out, 200, env).Stdout, text))
		return out.String()
	}
	coloured := draw(nil)
	require.Contains(t, coloured, "\x1b[33mAwaitingReconnect\x1b[0m")
	require.Contains(t, coloured, "\x1b[32mOnline\x1b[0m")
	for _, env := range []map[string]string{{"NO_COLOR": "1"}, {"TERM": "dumb"}} {
		require.NotContains(t, draw(env), "\x1b", env)
	}
	// Without the colours it is the same text.
	plain := coloured
	for _, code := range []string{bad, good, waiting, over, "0"} {
		plain = strings.ReplaceAll(plain, "\x1b["+code+"m", "")
	}
	require.Equal(t, draw(map[string]string{"NO_COLOR": "1"}), plain)
	var piped bytes.Buffer
	require.NoError(t, Table(&piped, fleetHeaders, fleetRows))
	require.NotContains(t, piped.String(), "\x1b")
}

// A sentence that is cut says nothing.
func TestAMessageIsNotCut(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	message := strings.Repeat("its key is not the one known before ", 5)
	screen := watched(&out, 80, map[string]string{"NO_COLOR": "1"}).Stdout
	require.NoError(t, Table(screen, []string{"NAME", "MESSAGE"}, [][]string{{strings.Repeat("h", 90), message}}))
	require.Contains(t, out.String(), strings.TrimSpace(message))
	require.NotContains(t, out.String(), strings.Repeat("h", 90))
}
