package specdiff_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory/specdiff"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec, status string
		want         []string
	}{
		"backwards": {
			`{"os":{"image":"reg:5000/os:2.1.4"}}`, `{"os":{"image":"reg:5000/os:2.3.0"}}`,
			[]string{"image 2.3.0 → 2.1.4, backwards"},
		},
		"numbers, not texts": {
			`{"os":{"image":"os:2.10.0"}}`, `{"os":{"image":"os:2.9.0"}}`, []string{"image 2.9.0 → 2.10.0"},
		},
		"one number": {
			`{"os":{"image":"os:v2.0"}}`, `{"os":{"image":"os:v10"}}`, []string{"image v10 → v2.0, backwards"},
		},
		"another image": {`{"os":{"image":"b:1"}}`, `{"os":{"image":"a:2"}}`, []string{"image a:2 → b:1"}},
		"the same":      {`{"os":{"image":"os:1"}}`, `{"os":{"image":"os:1"}}`, nil},
		"a digest": {
			`{"os":{"image":"os:1@sha256:bb"}}`, `{"os":{"image":"os:1","imageDigest":"sha256:aa"}}`,
			[]string{"imageDigest sha256:aa → sha256:bb"},
		},
		"the same digest": {`{"os":{"image":"os@sha256:aa"}}`, `{"os":{"image":"os","imageDigest":"sha256:aa"}}`, nil},
		"a port is no tag": {
			`{"os":{"image":"reg:5000/os"}}`, `{"os":{"image":"reg:6000/os"}}`, []string{"image reg:6000/os → reg:5000/os"},
		},
		"nothing reported": {`{"os":{"image":"os:1"}}`, `{}`, nil},
		"an application comes": {
			`{"applications":[{"name":"web","image":"w:1"}]}`, `{}`, []string{"application web (nothing) → w:1"},
		},
		"an application goes": {`{}`, `{"applications":[{"name":"web"}]}`, []string{"application web present → (nothing)"}},
		"named by its image":  {`{"applications":[{"image":"w:1"}]}`, `{"applications":[{"name":"w:1"}]}`, nil},
		"a spoilt status": {
			`{"os":{"image":"os:1"},"applications":[{"name":"a"}]}`, `{"os":7,"applications":[{"name":"a"}]}`, nil,
		},
		"no document":         {``, `null`, nil},
		"a tag of no version": {`{"os":{"image":"os:stable"}}`, `{"os":{"image":"os:2.0"}}`, []string{"image 2.0 → stable"}},
	} {
		var got []string
		for _, change := range specdiff.Diff(json.RawMessage(c.spec), json.RawMessage(c.status)) {
			got = append(got, change.String())
		}
		require.Equal(t, c.want, got, name)
	}
}

func TestCollect(t *testing.T) {
	t.Parallel()
	back := []specdiff.Change{{Field: "os.image", Runs: "os:2.3.0", Would: "os:2.1.4", Backwards: true}}
	groups := specdiff.Collect(map[string][]specdiff.Change{"a": nil, "b": back, "c": back})
	require.Len(t, groups, 2)
	require.Equal(t, "2 devices: image 2.3.0 → 2.1.4, backwards", groups[0].String())
	require.Equal(t, []string{"b", "c"}, groups[0].Names)
	require.Equal(t, "1 device: nothing that they report would change", groups[1].String())
}
