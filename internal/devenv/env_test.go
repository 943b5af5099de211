package devenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestEnvIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), EnvFile)
	rapid.Check(t, func(t *rapid.T) {
		var vars []Var
		for _, value := range rapid.SliceOfN(rapid.StringMatching(`[^\x00]*|[a'\\\n"$ ]*`), 0, 4).Draw(t, "values") {
			vars = append(vars, Var{Name: "ROLLCALL_X", Value: value})
		}
		require.NoError(t, WriteEnv(path, vars))
		read, err := ReadEnv(path)
		require.NoError(t, err)
		require.Equal(t, vars, read)
	})
}

func TestEnvIsForTheShell(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), EnvFile)
	value := "postgres://u:it's $HOME `id`\\\n\"@h/d?a=b&c=d"
	require.NoError(t, WriteEnv(path, []Var{{"ROLLCALL_X", value}, {"ROLLCALL_Y", ""}}))
	out, err := exec.Command("/bin/sh", "-c", `. "$1"; env | grep -c ROLLCALL_Y=; printf %s "$ROLLCALL_X"`,
		"sh", path).CombinedOutput()
	require.NoError(t, err)
	require.Equal(t, "1\n"+value, string(out))

	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it holds a password")
}

func TestReadEnvNamesTheLineThatIsWrong(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), EnvFile)
	for _, wrong := range []string{"X=1", "export X=1", "export X='1", "export X='1' # why", "\n"} {
		require.NoError(t, os.WriteFile(path, []byte("export A='1\n2'\n"+wrong), 0o600))
		_, err := ReadEnv(path)
		require.ErrorContains(t, err, path+":3 is not of the form", wrong)
	}
}

func TestLoadEnv(t *testing.T) {
	file := []Var{{"TEMPORAL_ADDRESS", "127.0.0.1:7233"}, {"ROLLCALL_DATABASE_URL", "postgres://here"}}
	for name, c := range map[string]struct {
		dead      bool
		set       map[string]string
		want      []Var
		elsewhere string
	}{
		"fills what is unset":           {want: file},
		"keeps what is set to the same": {set: map[string]string{"TEMPORAL_ADDRESS": "127.0.0.1:7233"}, want: file[1:]},
		"does not mix two places": {
			set: map[string]string{"TEMPORAL_ADDRESS": "prod:7233"}, elsewhere: "TEMPORAL_ADDRESS",
		},
		"does not mix in with a profile": {
			set: map[string]string{"TEMPORAL_PROFILE": "prod"}, elsewhere: "TEMPORAL_PROFILE",
		},
		"ignores the file of a dead server": {dead: true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range append(file, Var{Name: "TEMPORAL_PROFILE"}) {
				t.Setenv(v.Name, "") // so that it is put back afterwards
				require.NoError(t, os.Unsetenv(v.Name))
			}
			for name, value := range c.set {
				t.Setenv(name, value)
			}
			dir := t.TempDir()
			lock, err := LockDir(dir)
			require.NoError(t, err)
			require.NoError(t, WriteEnv(filepath.Join(dir, EnvFile), file))
			if c.dead {
				require.NoError(t, lock.Unlock())
			} else {
				defer func() { require.NoError(t, lock.Unlock()) }()
			}
			set, elsewhere, err := LoadEnv(dir)
			require.NoError(t, err)
			require.Equal(t, c.want, set)
			require.Equal(t, c.elsewhere, elsewhere)
			for _, v := range c.want {
				require.Equal(t, v.Value, os.Getenv(v.Name))
			}
		})
	}
}

func TestLoadEnvWithoutADirectory(t *testing.T) {
	t.Parallel()
	set, _, err := LoadEnv(filepath.Join(t.TempDir(), "missing"))
	require.NoError(t, err)
	require.Empty(t, set)
}

func TestLockIsGivenBack(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), ".rollcall")
	lock, err := LockDir(dir)
	require.NoError(t, err)
	_, err = LockDir(dir)
	require.ErrorContains(t, err, "a development server runs in "+dir+" already")
	require.NoError(t, lock.Unlock())
	again, err := LockDir(dir)
	require.NoError(t, err)
	require.NoError(t, again.Unlock())
}

func TestFindSaysHowToInstall(t *testing.T) {
	t.Parallel()
	_, err := findPostgres("/nowhere:", []string{"/nowhere/*/bin"})
	require.ErrorContains(t, err, "apt-get install postgresql")
	_, err = findTemporal("/nowhere:", []string{t.TempDir()})
	require.ErrorContains(t, err, "make tools")
}

func TestFindPostgresTakesThePathThenTheHighestVersion(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{"9/bin", "16/bin", "path"} {
		install(t, filepath.Join(root, dir), "initdb", "postgres")
	}
	install(t, filepath.Join(root, "17/bin"), "initdb")
	places := []string{root + "/*/bin"}
	found, err := findPostgres("/nowhere", places)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(root, "16/bin"), found)
	found, err = findPostgres("/nowhere:"+root+"/path", places)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(root, "path"), found)
}

func TestFindTemporalTakesThePathFirst(t *testing.T) {
	t.Parallel()
	path, bin := t.TempDir(), t.TempDir()
	install(t, bin, "temporal")
	found, err := findTemporal(path, []string{bin})
	require.NoError(t, err)
	require.Equal(t, filepath.Join(bin, "temporal"), found)
	install(t, path, "temporal")
	found, err = findTemporal(path, []string{bin})
	require.NoError(t, err)
	require.Equal(t, filepath.Join(path, "temporal"), found)
}

func install(t *testing.T, dir string, names ...string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for _, name := range names {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755))
	}
}

// Whoever puts a .rollcall into a folder that others work in could have their commands speak to servers of theirs.
func TestLoadEnvDoesNotTrustSomebodyElse(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	for _, foreign := range []string{".", EnvFile} {
		dir := t.TempDir()
		lock, err := LockDir(dir)
		require.NoError(t, err)
		require.NoError(t, WriteEnv(filepath.Join(dir, EnvFile), []Var{{"ROLLCALL_TEST_FOREIGN", "x"}}))
		require.NoError(t, os.Chown(filepath.Join(dir, foreign), 12345, -1))
		set, _, err := LoadEnv(dir)
		var foreignErr *ForeignError
		require.ErrorAs(t, err, &foreignErr, foreign)
		require.EqualValues(t, 12345, foreignErr.UID)
		require.Empty(t, set)
		require.NoError(t, lock.Unlock())
	}
}
