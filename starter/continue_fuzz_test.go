package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzContinue reads anything as the value of --continue. What is taken is written again as a value that means the
// same.
func FuzzContinue(f *testing.F) {
	for _, text := range []string{"", "e30", "bnVsbA", "W10", "%", "a\nb"} {
		f.Add(text)
	}
	for _, c := range []continuation{{Kind: "devices", Name: "web-1"}, {Kind: "events", Name: "a\x00"}} {
		text, err := c.encode()
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add("eyJraW5kIjoiZXZlbnRzIiwibmFtZSI6ImEiLCJhdCI6IjIwMjYtMTEtMzBUMjE6NDY6MDArMDE6MDAifQ") // with a time
	f.Fuzz(func(t *testing.T, text string) {
		for _, k := range kinds {
			o := &getOptions{globals: &globals{}, kind: k, continueAt: text}
			if err := o.completeContinue(); err != nil {
				require.False(t, strings.ContainsAny(err.Error(), "\x00\n"), "%q", err)
				continue
			}
			if text == "" {
				require.Zero(t, o.from)
				continue
			}
			require.Equal(t, k.plural, o.from.Kind)
			again := &getOptions{globals: &globals{}, kind: k}
			var err error
			again.continueAt, err = o.from.encode()
			require.NoError(t, err)
			require.NoError(t, again.completeContinue())
			require.Equal(t, o.from.Name, again.from.Name)
			require.True(t, o.from.At.Equal(again.from.At), "%s and %s", o.from.At, again.from.At)
		}
	})
}
