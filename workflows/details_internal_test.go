package workflows

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Other people's words must not become markup in the details, not even with a backslash before them.
func TestCell(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[x](http://evil)":     `\[x](http://evil)`,
		`\[x](http://evil)`:    `\\\[x](http://evil)`,
		`a\|b`:                 `a\\\|b`,
		"*a* _b_ <c> `d`\ne":   `\*a\* \_b\_ &lt;c> 'd' e`,
		"Fleet template 2.1.4": "Fleet template 2.1.4",
	} {
		require.Equal(t, want, cell(text))
	}
}
