package ask

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/starter/printer"
)

// Another share than a quarter may have to be confirmed, by a count or at a terminal.
func TestALargeShareIsConfirmed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		share, typed string
		count        int64
		terminal     bool
		devices      int64
		says         string
	}{
		"few":                     {devices: 25},
		"many":                    {devices: 26, says: "holds 26 of the 100 devices of the roll: say that you know with --confirm 26"},
		"many, and said":          {devices: 26, count: 26},
		"another count":           {devices: 26, count: 25, says: "--confirm 25: the plan holds 26 devices"},
		"another count of few":    {devices: 2, count: 1, says: "--confirm 1: the plan holds 2 devices"},
		"typed":                   {devices: 26, terminal: true, typed: "26\n"},
		"typed, and not the end":  {devices: 26, terminal: true, typed: "26"},
		"something else is typed": {devices: 26, terminal: true, typed: "yes\n", says: "--confirm 26"},
		"nothing is typed":        {devices: 26, terminal: true, says: "--confirm 26"},
		"a smaller share":         {share: "10%", devices: 11, says: "--confirm 11"},
		"never":                   {share: "100%", devices: 100},
		"no share":                {share: "0.1", devices: 1, says: `ROLLCALL_CONFIRM_ABOVE: share "0.1" cannot be read`},
	} {
		streams := printer.IO{
			Stdin: strings.NewReader(c.typed), Stderr: &bytes.Buffer{},
			Env:        func(string) (string, bool) { return c.share, c.share != "" },
			IsTerminal: func(io.Writer) bool { return c.terminal },
		}
		err := Confirmation{IO: streams, Count: c.count}.Check("the plan", c.devices, 100)
		if c.says == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, c.says, name)
		}
	}
}
