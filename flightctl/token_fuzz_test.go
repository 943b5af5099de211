package flightctl

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzTokenEnd reads anything as the claims of a token. An end that is taken is a time that can be written, and is
// taken again as the same.
func FuzzTokenEnd(f *testing.F) {
	for _, claims := range []string{
		"", "{}", "null", "[]", `{"exp":1788228000}`, `{"exp":1788228000.5}`, `{"exp":"1788228000"}`, `{"exp":-1}`,
		`{"exp":0.5}`, `{"exp":1e18}`, `{"exp":1e300}`,
	} {
		f.Add([]byte(claims))
	}
	token := func(claims []byte) string { return "x." + base64.RawURLEncoding.EncodeToString(claims) + ".x" }
	f.Fuzz(func(t *testing.T, claims []byte) {
		_, _ = jwtEnd(string(claims)) // as a whole token
		end, ok := jwtEnd(token(claims))
		if !ok {
			require.Zero(t, end)
			return
		}
		require.True(t, end.After(time.Unix(0, 0)), "%s", end)
		_, err := end.UTC().MarshalText()
		require.NoError(t, err)
		again, ok := jwtEnd(token(fmt.Appendf(nil, `{"exp":%d}`, end.Unix())))
		require.True(t, ok)
		require.True(t, end.Equal(again), "%s and %s", end, again)
	})
}
