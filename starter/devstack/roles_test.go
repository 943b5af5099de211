package devstack

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv"
	"rollcall/inventory"
	"rollcall/inventory/roles"
)

// A newcomer's first commands meet what a role may not do, as a site's would. A folder of an earlier release has no
// roles before.
func TestEachPartOfTheStackHasItsRole(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "rollcall-roles-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	s, err := start(t.Context(), config{Dir: dir, UIPort: devenv.NoUI, Passing: true, Say: io.Discard})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.stop()) })
	for role, store := range map[string]*inventory.Store{
		roles.Operator: s.store, roles.Worker: s.working, roles.Gateway: s.serving, "rollcall": s.owner,
	} {
		var acts string
		require.NoError(t, store.DB().GetContext(t.Context(), &acts, "select current_user"))
		require.Equal(t, role, acts)
	}
}
