package devtest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ReadyWhileWritable checks that a program is ready only while its database takes writes: a server that was demoted
// answers every read. start starts the program on a database and returns what gets a path of its operations server.
// limit is how long the program may take to notice what has become of the database.
func ReadyWhileWritable(
	t *testing.T, limit time.Duration, start func(t *testing.T, database string) func(path string) (int, string),
) {
	t.Helper()
	for name, tc := range map[string]struct{ parameters, says string }{
		"no writable server is found":     {"", "no server of the database URL can be written to"},
		"any server counts as one to use": {"target_session_attrs=any", "write to the database: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(Database(t))
			require.NoError(t, err)
			if tc.parameters != "" {
				u.RawQuery += "&" + tc.parameters
			}
			get := start(t, u.String())
			requireReady := func() {
				t.Helper()
				require.Eventually(t, func() bool {
					code, _ := get("/readyz")
					return code == http.StatusOK
				}, limit, 20*time.Millisecond)
			}
			requireReady()
			writable := ReadOnly(t, u.String())
			// The first answers may be about the connections that were dropped.
			ready := false
			require.Eventually(t, func() bool {
				code, body := get("/readyz")
				ready = ready || code != http.StatusServiceUnavailable
				return strings.Contains(body, tc.says)
			}, limit, 20*time.Millisecond)
			require.False(t, ready)
			code, _ := get("/healthz")
			require.Equal(t, http.StatusOK, code)
			writable()
			requireReady()
		})
	}
}
