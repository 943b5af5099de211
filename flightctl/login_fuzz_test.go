package flightctl

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The file of a login is read or refused, and no error quotes it: it holds a token.
func FuzzParseLogin(f *testing.F) {
	f.Add("service:\n  server: https://example.com\nauthentication:\n  access-token: ", "\n")
	f.Add("authentication: {id-token: ", ", token-to-use: id}")
	f.Add("service: [", "]")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "hush-hush"
		l, err := parseLogin([]byte(before + secret + after))
		if err != nil {
			require.False(t, strings.Contains(err.Error(), secret))
			require.Empty(t, l.token())
		}
	})
}
