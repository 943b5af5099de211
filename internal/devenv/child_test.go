package devenv

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Servers hold the locks of their directories as long as one of their processes lives, so a lock that we get proves
// that nothing is left.
func TestNothingOutlivesAKilledParent(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(reachableDir(t), ".rollcall")
	for range 2 { // the second time on what the first left behind
		helper, servers := startHelper(t, dir)
		require.NoError(t, execSQL(t, servers.Postgres, "CREATE TABLE IF NOT EXISTS kept (x int)"))
		_, err := LockDir(dir)
		require.ErrorContains(t, err, "a development server runs in "+dir+" already")
		var running *RunningError
		require.ErrorAs(t, err, &running)
		require.Equal(t, helper.Process.Pid, running.PID)

		require.NoError(t, helper.Process.Kill())
		require.Error(t, helper.Wait())
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for _, server := range []string{"postgres", "temporal"} {
			lock, err := waitForLock(ctx, filepath.Join(dir, server, "lock"))
			require.NoError(t, err, "%s outlives its parent", server)
			require.NoError(t, lock.Close())
		}
	}
	p := startPostgres(t, PostgresConfig{Dir: filepath.Join(dir, "postgres")})
	require.Equal(t, filepath.Join(dir, "postgres"), p.Dir(), "LockDir must let PostgreSQL's user through")
	require.NoError(t, execSQL(t, p.URL(), "SELECT x FROM kept"))
}

// A restart need not wait for the servers of a killed parent: starting does.
func TestAServerThatIsEndingIsWaitedFor(t *testing.T) {
	t.Parallel()
	dir := reachableDir(t)
	helper, _ := startHelper(t, dir)
	require.NoError(t, helper.Process.Kill())
	require.Error(t, helper.Wait())
	startHelper(t, dir)
}

func startHelper(t *testing.T, dir string) (*exec.Cmd, running) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	helper := exec.Command(self)
	helper.Env = append(os.Environ(), helperDir+"="+dir)
	helper.Stderr = os.Stderr
	out, err := helper.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, helper.Start())
	t.Cleanup(func() {
		_ = helper.Process.Kill()
		_ = helper.Wait()
	})
	var servers running
	require.NoError(t, json.NewDecoder(out).Decode(&servers), "the helper has not started its servers")
	return helper, servers
}

func TestOnExitRunsWhenClosed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ran")
	script, err := OnExit(`: >"$1"`, file)
	require.NoError(t, err)
	require.NoFileExists(t, file)
	require.NoError(t, script.Close())
	require.FileExists(t, file)
}

func TestOnExitRunsNotBeforeTheEndThoughNobodyHoldsIt(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ran")
	_, err := OnExit(`: >"$1"`, file)
	require.NoError(t, err)
	require.Never(t, func() bool {
		runtime.GC()
		return exists(file)
	}, 300*time.Millisecond, 10*time.Millisecond)
}
