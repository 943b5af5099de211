package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// block is a fenced block of commands in a page.
type block struct {
	// line is that of the first command, from 1.
	line   int
	script string
	// notRun is why a reader's hands are needed, as for what ends with Ctrl-C; empty is that it is run.
	notRun string
	// device and state are what is waited for before it is run; empty is nothing.
	device, state string
}

var (
	// marker is a comment that stands alone in the line before a block.
	marker     = regexp.MustCompile(`^<!-- (not run|await): (.+) -->$`)
	awaited    = regexp.MustCompile(`^(\S+) is (\S+)$`)
	openFence  = "```sh"
	closeFence = "```"
)

// blocksOf reads the blocks of commands, in their order. A marker that stands before no block, or cannot be read, is an
// error: it would mark nothing.
func blocksOf(page string) (blocks []block, err error) {
	var next block
	marked, open := 0, false
	for i, line := range strings.Split(page, "\n") {
		said := marker.FindStringSubmatch(line)
		switch {
		case open && line == closeFence:
			blocks = append(blocks, next)
			next, marked, open = block{}, 0, false
		case open:
			next.script += line + "\n"
		case line == openFence:
			open, next.line = true, i+2
		case marked != 0:
			return nil, fmt.Errorf("line %d: the marker stands before no block", marked)
		case said != nil:
			if marked = i + 1; said[1] == "not run" {
				next.notRun = said[2]
				continue
			}
			wait := awaited.FindStringSubmatch(said[2])
			if wait == nil {
				return nil, fmt.Errorf("line %d: say DEVICE is STATE, not %q", marked, said[2])
			}
			next.device, next.state = wait[1], wait[2]
		case strings.HasPrefix(line, "<!--"):
			return nil, fmt.Errorf("line %d: %q is not a marker", i+1, line)
		}
	}
	if open || marked != 0 {
		return nil, fmt.Errorf("line %d: a block does not end", max(next.line, marked))
	}
	return blocks, nil
}

func TestBlocksOfAPage(t *testing.T) {
	t.Parallel()
	got, err := blocksOf("# A\n\n```sh\na\n\nb\n```\n\n```text\nc\n```\n\n" +
		"<!-- not run: it opens a browser -->\n```sh\nd\n```\n" +
		"<!-- await: web-1 is ConflictPaused -->\n```sh\ne\n```\n```sh\nf\n```")
	require.NoError(t, err)
	require.Equal(t, []block{
		{line: 4, script: "a\n\nb\n"},
		{line: 15, script: "d\n", notRun: "it opens a browser"},
		{line: 19, script: "e\n", device: "web-1", state: "ConflictPaused"},
		{line: 22, script: "f\n"},
	}, got)
	for page, complaint := range map[string]string{
		"```sh\na":                   "does not end",
		"<!-- not run: it waits -->": "does not end",
		"<!-- not run: it waits -->\n\n```sh\na\n```":    "stands before no block",
		"<!-- await: the night -->\n```sh\na\n```":       "say DEVICE is STATE",
		"<!-- not ran: it waits -->\n```sh\na\n```":      "is not a marker",
		"<!-- not run: x -->\n<!-- await: a is b -->\na": "stands before no block",
	} {
		_, err := blocksOf(page)
		require.ErrorContains(t, err, complaint, page)
	}
}
