package devtest_test

import (
	"bufio"
	"database/sql"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv/devtest"
)

// endHelper makes TestHelperThatEnds start both servers and end in the way that the variable names.
const endHelper = "DEVTEST_END"

func TestHelperThatEnds(t *testing.T) {
	how := os.Getenv(endHelper)
	if how == "" {
		return
	}
	fmt.Printf("servers: %s %s\n", devtest.EmptyDatabase(t), devtest.Temporal(t).Address)
	switch how {
	case "killed":
		_, err := io.Copy(io.Discard, os.Stdin) // until the one who kills us is gone
		require.NoError(t, err)
	case "panic":
		go panic("in a goroutine, where no test recovers it")
		select {}
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"normally", "panic", "killed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			temp, err := os.MkdirTemp("", "devtest-end-")
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, os.RemoveAll(temp)) })
			require.NoError(t, os.Chmod(temp, 0o755))
			database, temporal := runHelper(t, how, temp)

			require.Eventually(t, func() bool {
				left, err := os.ReadDir(temp)
				return err == nil && len(left) == 0
			}, 30*time.Second, 20*time.Millisecond, "the cluster's files are left")
			db, err := sql.Open("postgres", database)
			require.NoError(t, err)
			defer db.Close()
			require.Error(t, db.Ping())
			_, err = net.Dial("tcp", temporal)
			require.Error(t, err)
		})
	}
}

func runHelper(t *testing.T, how, temp string) (database, temporal string) {
	t.Helper()
	helper := exec.Command(os.Args[0], "-test.run=^TestHelperThatEnds$")
	helper.Env = append(os.Environ(), endHelper+"="+how, "TMPDIR="+temp, devtest.EnvDatabaseURL+"=",
		devtest.EnvTemporalAddress+"=")
	out, err := helper.StdoutPipe()
	require.NoError(t, err)
	_, err = helper.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, helper.Start())
	lines := bufio.NewScanner(out)
	for database == "" && lines.Scan() {
		_, err := fmt.Sscanf(lines.Text(), "servers: %s %s", &database, &temporal)
		require.NoError(t, err, lines.Text())
	}
	require.True(t, strings.HasPrefix(database, "postgres://"), "the helper has not started its servers")
	if how == "killed" {
		require.NoError(t, helper.Process.Kill())
	}
	for lines.Scan() {
		// Read to its end, or it could block on writing.
	}
	if err := helper.Wait(); how == "normally" {
		require.NoError(t, err)
	} else {
		require.Error(t, err)
	}
	return database, temporal
}
