package devenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// postgresPlaces is where packages put the server's binaries that do not put them on the PATH.
var postgresPlaces = []string{
	"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
	"/usr/pgsql-*/bin",          // PostgreSQL's own packages for Red Hat
	"/usr/libexec/postgresql*",  // Alpine
	"/usr/local/pgsql/bin",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
}

// FindPostgres finds the directory with PostgreSQL's server binaries (initdb and postgres): on the PATH, else the
// highest version in the usual places. The error says how to install them.
func FindPostgres() (string, error) { return findPostgres(os.Getenv("PATH"), postgresPlaces) }

func findPostgres(path string, places []string) (string, error) {
	dirs := filepath.SplitList(path)
	var usual []string
	for _, place := range places {
		found, _ := filepath.Glob(place)
		usual = append(usual, found...)
	}
	slices.SortStableFunc(usual, func(a, b string) int { return versionIn(b) - versionIn(a) })
	for _, dir := range append(dirs, usual...) {
		if isExecutable(filepath.Join(dir, "initdb")) && isExecutable(filepath.Join(dir, "postgres")) {
			return dir, nil
		}
	}
	return "",
		errors.New("PostgreSQL's server is not installed (no initdb and postgres on the PATH or in the usual places): run " +
			"`make tools`, or `apt-get install postgresql`")
}

// versionIn reads the last number in a path, as 15 in /usr/lib/postgresql/15/bin.
func versionIn(path string) int {
	digits := strings.FieldsFunc(path, func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(digits[len(digits)-1])
	return n
}

// FindTemporal finds the `temporal` command: on the PATH, else beside our own binary, else in bin/ of the working
// directory or of the Go module around it. The error says how to get it.
func FindTemporal() (string, error) { return findTemporal(os.Getenv("PATH"), ourDirs()) }

func findTemporal(path string, dirs []string) (string, error) {
	return findCommand("temporal", "make tools", path, dirs)
}

// FindTemporalPostgres finds the `temporal-postgres` command in the places of FindTemporal. The error says how to get
// it.
func FindTemporalPostgres() (string, error) {
	return findTemporalPostgres(os.Getenv("PATH"), ourDirs())
}

func findTemporalPostgres(path string, dirs []string) (string, error) {
	return findCommand("temporal-postgres", "make bench-server", path, dirs)
}

// ourDirs is where make puts commands.
func ourDirs() []string {
	var dirs []string
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(self))
	}
	if wd, err := os.Getwd(); err == nil {
		dirs = append(dirs, filepath.Join(wd, "bin"))
		if root, ok := moduleRoot(wd); ok {
			dirs = append(dirs, filepath.Join(root, "bin"))
		}
	}
	return dirs
}

func findCommand(name, install, path string, dirs []string) (string, error) {
	for _, dir := range append(filepath.SplitList(path), dirs...) {
		if file := filepath.Join(dir, name); dir != "" && isExecutable(file) {
			file, err := filepath.Abs(file)
			if err != nil {
				return "", fmt.Errorf("find the %s command: %w", name, err)
			}
			return file, nil
		}
	}
	return "", fmt.Errorf("the `%s` command is not installed (not on the PATH and not in bin/): run `%s`", name, install)
}

func moduleRoot(dir string) (string, bool) {
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

func isExecutable(file string) bool {
	found, err := exec.LookPath(file)
	return err == nil && found == file
}
