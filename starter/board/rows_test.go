package board

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tables are what is read, one at each look; the last one ends the watch.
func tables(cancel context.CancelFunc, all ...Table) func(context.Context) (Table, error) {
	at := -1
	return func(context.Context) (Table, error) {
		if at++; at >= len(all) {
			cancel()
			return Table{}, errors.New("the test is over")
		}
		return all[at], nil
	}
}

func devices(rows ...string) (t Table) {
	t.Headers = []string{"NAME", "SYSTEM", "LAST SEEN"}
	for _, row := range rows {
		t.Rows = append(t.Rows, strings.Split(row, ","))
		t.Keys = append(t.Keys, strings.Split(row, ",")[0])
	}
	return t
}

func TestRowsThatChangeAreWrittenAgain(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	r := Rows{IO: streams(&out, false), Every: time.Millisecond, Read: tables(cancel,
		devices("front-door,Online,1s ago", "web-1,Online,3s ago"),
		devices("front-door,Online,2s ago", "web-1,Error,4s ago"),
		devices("front-door,Online,3s ago", "web-1,Error,5s ago", "web-2,Online,1s ago"),
		devices("web-1,Error,6s ago", "web-2,Online,2s ago"),
	)}
	require.NoError(t, r.Run(ctx))
	require.Equal(t, `NAME         SYSTEM   LAST SEEN
front-door   Online   1s ago
web-1        Online   3s ago
web-1        Error    4s ago
web-2        Online   1s ago
front-door   <gone>
`, out.String())
}

func TestRowsOnATerminalAreOneScreen(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	many := make([]string, 60)
	for i := range many {
		many[i] = fmt.Sprintf("web-%02d,Online,1s ago", i)
	}
	var out bytes.Buffer
	read := tables(cancel, devices(many...), devices("web-00,Error,1s ago"))
	r := Rows{IO: streams(&out, true), Every: time.Millisecond, What: "devices", Read: read}
	require.NoError(t, r.Run(ctx))
	first, rest, _ := strings.Cut(out.String(), "\x1b[J")
	require.LessOrEqual(t, strings.Count(first, "\r\n"), 23, first)
	require.Contains(t, first, "web-19")
	require.Contains(t, first, "60 devices, 40 more do not fit the screen. Ctrl-C ends the watch.")
	require.Contains(t, rest, "\x1b[31mError\x1b[0m")
	require.Equal(t, 1, strings.Count(out.String(), "\x1b[?1049h"))
}

func TestATableThatCannotBeReadAtFirstIsAnError(t *testing.T) {
	t.Parallel()
	read := func(context.Context) (Table, error) { return Table{}, errors.New("no schema") }
	r := Rows{IO: streams(&bytes.Buffer{}, false), Read: read}
	require.EqualError(t, r.Run(t.Context()), "no schema")
}
