package faults

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/inventory"
)

func TestTheDisksOfTheServersAreFilled(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "rollcall-faults-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	r := &run{options: Options{Disasters: true}, dir: dir}
	r.servers, err = r.startServers(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.servers.stop()) })
	if len(r.result.LeftOut) > 0 {
		require.Contains(t, r.result.Summary(), "left out: the disk of postgres is not filled: mount")
		t.Skip(r.result.LeftOut)
	}
	files := r.servers.current().postgres.Dir()
	require.True(t, strings.HasPrefix(files, dir), "its files are in %s", files)

	require.Error(t, r.servers.disks[postgresDir].full(), "there is room before")
	for _, name := range []string{postgresDir, temporalDir} {
		require.NoError(t, r.fillDisk(t.Context(), name))
	}
	require.Contains(t, r.result.Summary(), "; broken: disk of postgres filled 1, disk of temporal filled 1")
	_, err = inventory.Migrate(t.Context(), r.servers.database())
	require.NoError(t, err, "PostgreSQL works again")
	require.NoError(t, r.servers.current().temporal.Works(t.Context()))
}
