package printer

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Columns are read or refused, and those that are read make a row of as many cells of any object.
func FuzzParseColumns(f *testing.F) {
	for _, spec := range []string{
		"", "NAME:.metadata.name", "A:{.a[*].b},B:$", "N:.items[?(@.a==1)].b", "N:..name", "N:.a[0:2:1]",
		"N:.a['b c']", "N:.a[-1]",
	} {
		f.Add(spec)
	}
	objects := []any{
		nil,
		[]any{},
		"text",
		map[string]any{"a": []any{1.0, "x", map[string]any{"b": nil}}, "metadata": map[string]any{"name": "web-1"}},
	}
	f.Fuzz(func(t *testing.T, spec string) {
		columns, err := ParseColumns(spec)
		if err != nil {
			return
		}
		headers, rows := ColumnRows(columns, objects)
		require.Len(t, headers, len(columns))
		require.Len(t, rows, len(objects))
		for _, row := range rows {
			require.Len(t, row, len(columns))
		}
	})
}
