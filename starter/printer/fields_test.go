package printer

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

type thing struct {
	Name  string            `json:"name"`
	Size  *int              `json:"size,omitempty"`
	Label map[string]string `json:"label,omitempty"`
}

func size(n int) *int { return &n }

func TestSortByKnowsNumbersAndWhatIsMissing(t *testing.T) {
	t.Parallel()
	list := []thing{{Name: "none"}, {Name: "ten", Size: size(10)}, {Name: "nine", Size: size(9)}}
	path, err := ParsePath("size")
	require.NoError(t, err)
	require.NoError(t, SortBy(list, path))
	require.Equal(t, "nine", list[0].Name)
	require.Equal(t, "none", list[2].Name)
	path, err = ParsePath("{.name}")
	require.NoError(t, err)
	require.NoError(t, SortBy(list, path))
	require.Equal(t, []string{"nine", "none", "ten"}, []string{list[0].Name, list[1].Name, list[2].Name})
}

func TestColumns(t *testing.T) {
	t.Parallel()
	columns, err := ParseColumns("NAME:.name,SITE:.label.site,ALL:.label")
	require.NoError(t, err)
	objects, err := Objects([]thing{{Name: "a", Label: map[string]string{"site": "x"}}, {Name: "b"}})
	require.NoError(t, err)
	headers, rows := ColumnRows(columns, objects)
	require.Equal(t, []string{"NAME", "SITE", "ALL"}, headers)
	require.Equal(t, [][]string{{"a", "x", `{"site":"x"}`}, {"b", None, None}}, rows)
	for _, bad := range []string{"", "NAME", ":.name", "NAME:", "NAME:.a[", "NAME:{.a}{.b}"} {
		_, err := ParseColumns(bad)
		require.ErrorContains(t, err, "custom-columns", bad)
	}
}

func TestJSONPath(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t,
		JSONPath(&out, "{range .items[*]}{.name}{'\\n'}{end}", map[string]any{"items": []thing{{Name: "a"}, {Name: "b"}}}))
	require.Equal(t, "a\nb\n", out.String())
	require.ErrorContains(t, JSONPath(&out, "{.items[", nil), "cannot be read")
}

// Wide characters take two columns, and what follows them stands where its header does.
func TestATableAlignsWideCharacters(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, Table(&out, []string{"NAME", "X"}, [][]string{{"門番", "1"}, {"e\u0301", "2"}, {"long-name", ""}}))
	require.Equal(t, "NAME        X\n門番        1\ne\u0301           2\nlong-name\n", out.String())
}
