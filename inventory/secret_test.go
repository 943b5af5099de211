package inventory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
)

func TestAPasswordIsInNoError(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://u:s3cret@[bad/x", "postgres://u:s3cret%et@127.0.0.1:1/x", "postgres://u@127.0.0.1:s3cret/x",
		"u:s3cret@host", "host=127.0.0.1 port=1 password=s3cret bogus", "s3cret",
		"postgres://u:s3cret@127.0.0.1:1/x?sslmode=disable",
	} {
		_, err := inventory.Open(t.Context(), url)
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "s3cret", url)
	}
}
