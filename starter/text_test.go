package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestCommandsCanBePastedIntoAShell(t *testing.T) {
	t.Parallel()
	require.Equal(t, "starter describe device web-7", command("", "describe", "device", "web-7"))
	require.Equal(t, "starter get --field-selector=status.summary.status=ConflictPaused", command(runbook.DefaultOrgID, "get", "--field-selector=status.summary.status=ConflictPaused"))
	require.Equal(t, "starter describe device web-7 --org 11111111-0000-0000-0000-000000000000", command("11111111-0000-0000-0000-000000000000", "describe", "device", "web-7"))
	require.Equal(t, `starter resume device 'a b' --reason 'it'\''s $fine' --as '' --x '*' --y 'ü'`,
		command("", "resume", "device", "a b", "--reason", "it's $fine", "--as", "", "--x", "*", "--y", "ü"))
}

func TestWordsForPeople(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	before := now.Add(-90 * time.Minute)
	require.Equal(t, "90m ago", ago(now, &before))
	require.Equal(t, "<never>", ago(now, nil))
	require.Equal(t, "<never>", ago(now, &time.Time{}))
	require.Equal(t, "1 device", count(1, "device"))
	require.Equal(t, "0 devices", count(int64(0), "device"))
	require.Equal(t, "a=1,b=2", pairs(map[string]string{"b": "2", "a": "1"}))
}

func TestTargetsAsKubectlUsersTypeThem(t *testing.T) {
	t.Parallel()
	cases := []struct {
		args  []string
		kind  string
		names []string
	}{
		{[]string{"devices"}, "devices", nil},
		{[]string{"Device", "a", "b"}, "devices", []string{"a", "b"}},
		{[]string{"dev/a"}, "devices", []string{"a"}},
		{[]string{"device/a", "devices/b"}, "devices", []string{"a", "b"}},
		{[]string{"device", "a/b"}, "devices", []string{"a/b"}},
		{[]string{"device/a/b"}, "devices", []string{"a/b"}},
		{[]string{"er"}, "enrollmentrequests", nil},
		{[]string{"ev", "x"}, "events", []string{"x"}},
		{[]string{"fleet/web"}, "fleets", []string{"web"}},
	}
	for _, c := range cases {
		k, names, err := parseTarget(c.args, kinds...)
		require.NoError(t, err, c.args)
		require.Equal(t, c.kind, k.plural, c.args)
		require.ElementsMatch(t, c.names, names, c.args)
	}
}

func TestTheWebUIIsLinkedWhereItIsKnown(t *testing.T) {
	t.Parallel()
	g := &globals{io: testIO(nil, nil, nil)}
	require.Empty(t, g.webLink("device/default/web-7"))
	g.io = testIO(nil, nil, map[string]string{"ROLLCALL_UI_URL": "http://127.0.0.1:8233/", "TEMPORAL_NAMESPACE": "edge"})
	require.Equal(t, "http://127.0.0.1:8233/namespaces/edge/workflows?query=WorkflowId%3D%22device%2Fdefault%2Fweb-7%22", g.webLink("device/default/web-7"))
}
