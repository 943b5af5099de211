//go:build package

// Package packaging tests what `make package` has made: the deb is unpacked into a scratch root, its units are checked,
// and its programs are run.
package packaging

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// dist is the folder of what was made.
const dist = "../dist"

// only is the one file of dist that matches.
func only(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dist, pattern))
	require.NoError(t, err)
	require.Len(t, files, 1, "make package makes one %s", pattern)
	return files[0]
}

// install unpacks the deb into a root of its own.
func install(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	out, err := exec.Command("dpkg-deb", "-x", only(t, "*.deb"), root).CombinedOutput()
	require.NoError(t, err, string(out))
	return root
}

func TestTheProgramsRun(t *testing.T) {
	t.Parallel()
	root := install(t)
	version := regexp.MustCompile(`^(rollcall|worker|gateway) (\S+) \(commit [0-9a-f]{12}, of \d{4}-\S+Z, go\S+\)\n$`)
	for program, args := range map[string][]string{
		"usr/bin/starter": {"version"}, "usr/libexec/rollcall/worker": {"-version"},
		"usr/libexec/rollcall/gateway": {"-version"},
	} {
		out, err := exec.Command(filepath.Join(root, program), args...).CombinedOutput()
		require.NoError(t, err, string(out))
		require.Regexp(t, version, string(out), program)
	}
	for link, to := range map[string]string{
		"rollcall": "/usr/bin/starter", "rollcall-worker": "/usr/libexec/rollcall/worker",
		"rollcall-gateway": "/usr/libexec/rollcall/gateway",
	} {
		target, err := os.Readlink(filepath.Join(root, "usr/bin", link))
		require.NoError(t, err)
		require.Equal(t, to, target)
		require.FileExists(t, filepath.Join(root, to))
	}
}

func TestTheUnitsAreRight(t *testing.T) {
	t.Parallel()
	root := install(t)
	// The targets that they are ordered by are systemd's own.
	own := "/usr/lib/systemd/system"
	if _, err := os.Stat(own); err != nil {
		own = "/lib/systemd/system"
	}
	units := filepath.Join(root, "usr/lib/systemd/system")
	for _, target := range []string{
		"basic", "sysinit", "network-online", "network", "multi-user", "shutdown", "local-fs", "paths", "slices", "sockets",
		"timers",
	} {
		text, err := os.ReadFile(filepath.Join(own, target+".target"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(units, target+".target"), text, 0o600))
	}
	for _, unit := range []string{"rollcall-worker.service", "rollcall-gateway.service"} {
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", "--root="+root,
			unit).CombinedOutput()
		require.NoError(t, err, string(out))
		require.NotContains(t, string(out), unit, "a warning")
		out, err = exec.Command("systemd-analyze", "security", "--offline=yes", "--threshold=20", "--root="+root,
			unit).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	worker := filepath.Join(units, "rollcall-worker.service")
	text, err := os.ReadFile(worker)
	require.NoError(t, err)
	for _, wrong := range []string{"ExecStart=/usr/libexec/rollcall/nothing\n", "LoadCredential=\x01\n"} {
		require.NoError(t,
			os.WriteFile(worker, []byte(strings.Replace(string(text), "ExecStart=/usr/libexec/rollcall/worker\n", wrong, 1)),
				0o600))
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", "--root="+root,
			"rollcall-worker.service").CombinedOutput()
		require.Error(t, err, "a wrong unit is seen: %s", out)
	}
}

// Every credential that a unit loads is handed to the program through a variable that the program knows, and the
// programs read what the examples set.
func TestTheProgramsKnowTheirSettings(t *testing.T) {
	t.Parallel()
	root := install(t)
	known := regexp.MustCompile(`ROLLCALL_[A-Z_]+|TEMPORAL_[A-Z_]+`)
	for _, name := range []string{"worker", "gateway"} {
		program, err := os.ReadFile(filepath.Join(root, "usr/libexec/rollcall", name))
		require.NoError(t, err)
		for _, file := range []string{
			"etc/rollcall/" + name + ".env", "usr/lib/systemd/system/rollcall-" + name + ".service",
		} {
			text, err := os.ReadFile(filepath.Join(root, file))
			require.NoError(t, err)
			for _, variable := range known.FindAllString(string(text), -1) {
				require.Contains(t, string(program), strings.TrimSuffix(variable, "_FILE"), "%s of %s", variable, file)
			}
			for _, loaded := range regexp.MustCompile(`(?m)^LoadCredential=([^:]+):`).FindAllStringSubmatch(string(text), -1) {
				require.Regexp(t, `(?m)^Environment=\w+=%d/`+regexp.QuoteMeta(loaded[1])+`$`, string(text))
			}
		}
	}
}

// The database's URL of a credential is used, and is not shown.
func TestTheWorkerReadsItsCredential(t *testing.T) {
	t.Parallel()
	root := install(t)
	credential := filepath.Join(t.TempDir(), "database-url")
	require.NoError(t,
		os.WriteFile(credential, []byte("postgres://rollcall:s3cret@127.0.0.1:1/x?sslmode=disable\n"), 0o600))
	worker := exec.Command(filepath.Join(root, "usr/libexec/rollcall/worker"))
	worker.Env = []string{"ROLLCALL_DATABASE_URL_FILE=" + credential}
	out, err := worker.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "127.0.0.1:1")
	require.NotContains(t, string(out), "s3cret")
}

func TestManPagesCompletionsAndConfiguration(t *testing.T) {
	t.Parallel()
	root := install(t)
	for _, page := range []string{
		"man1/starter.1.gz", "man1/starter-resume.1.gz", "man8/rollcall-worker.8.gz", "man8/rollcall-gateway.8.gz",
	} {
		file, err := os.Open(filepath.Join(root, "usr/share/man", page))
		require.NoError(t, err)
		plain, err := gzip.NewReader(file)
		require.NoError(t, err)
		text, err := io.ReadAll(plain)
		require.NoError(t, err)
		require.Contains(t, string(text), ".SH SYNOPSIS", page)
		require.NoError(t, file.Close())
	}
	for _, name := range []string{"starter", "rollcall"} {
		script := filepath.Join(root, "usr/share/bash-completion/completions", name)
		out, err := exec.Command("bash", "-c", `source "$0" && complete -p `+name, script).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	for path, mode := range map[string]os.FileMode{
		"etc/rollcall/worker.env": 0o644, "etc/rollcall/gateway.env": 0o644, "etc/rollcall/credentials": 0o700,
	} {
		info, err := os.Stat(filepath.Join(root, path))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
	for _, name := range []string{"copyright", "CHANGELOG.md", "sbom.cdx.json", "examples/fleet.yaml"} {
		require.FileExists(t, filepath.Join(root, "usr/share/doc/rollcall", name))
	}
}

func TestChecksumsTarballAndBillOfMaterials(t *testing.T) {
	t.Parallel()
	sums, err := os.ReadFile(only(t, "SHA256SUMS"))
	require.NoError(t, err)
	files, err := os.ReadDir(dist)
	require.NoError(t, err)
	require.Len(t, strings.Fields(string(sums)), 2*(len(files)-1), "all files but the sums themselves")
	for _, pattern := range []string{"*.deb", "*.rpm", "*.tar.gz", "*.cdx.json"} {
		content, err := os.ReadFile(only(t, pattern))
		require.NoError(t, err)
		sum := sha256.Sum256(content)
		require.Contains(t, string(sums), hex.EncodeToString(sum[:])+"  "+filepath.Base(only(t, pattern))+"\n")
	}
	require.ElementsMatch(t, []string{"starter", "worker", "gateway"}, programsIn(t, only(t, "*.tar.gz")))

	var bom struct {
		BOMFormat  string `json:"bomFormat"`
		Components []struct {
			Name string `json:"name"`
		} `json:"components"`
	}
	text, err := os.ReadFile(only(t, "*.cdx.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &bom))
	require.Equal(t, "CycloneDX", bom.BOMFormat)
	var names []string
	for _, c := range bom.Components {
		names = append(names, c.Name)
	}
	require.Contains(t, names, "go.temporal.io/sdk")
	rpm, err := os.ReadFile(only(t, "*.rpm"))
	require.NoError(t, err)
	require.Equal(t, "\xed\xab\xee\xdb", string(rpm[:4]), "an rpm begins like this")
}

// programsIn lists what a tarball has at its top that can be run.
func programsIn(t *testing.T, path string) (names []string) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	plain, err := gzip.NewReader(file)
	require.NoError(t, err)
	entries := tar.NewReader(plain)
	for {
		entry, err := entries.Next()
		if err == io.EOF {
			return names
		}
		require.NoError(t, err)
		if entry.Typeflag == tar.TypeReg && entry.Mode&0o111 != 0 && strings.Count(entry.Name, "/") == 1 {
			names = append(names, filepath.Base(entry.Name))
		}
	}
}
