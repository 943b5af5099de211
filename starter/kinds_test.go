package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

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
	require.Equal(t, "http://127.0.0.1:8233/namespaces/edge/workflows?query=WorkflowId%3D%22device%2Fdefault%2Fweb-7%22",
		g.webLink("device/default/web-7"))
}
