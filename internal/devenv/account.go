package devenv

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
)

// FallbackRoot is where the cluster's files stand when we are root and the user that PostgreSQL runs as cannot reach
// the directory that was asked for. Only root takes this way, so no one else can have prepared something there.
const FallbackRoot = "/var/lib/rollcall"

// account is the system user that PostgreSQL runs as in place of root.
type account struct {
	name     string
	uid, gid uint32
}

// unprivileged finds that user; nil where we are not root and can run it ourselves.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return nil, fmt.Errorf("read user %s: %w", name, err)
		}
		return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil,
		errors.New("PostgreSQL refuses to run as root, and this system has neither a user \"postgres\" nor \"nobody\"; run " +
			"this as an ordinary user")
}

// locationFile stands in a directory whose cluster is elsewhere, and says where: for people, and for `make clean`.
const locationFile = "location"

// place finds the directory for the cluster of dir: dir itself, or a stable one below FallbackRoot where u cannot reach
// dir. Files that exist already decide, so that a change of a directory's mode does not hide them. The directory exists
// afterwards, and is u's.
func place(dir string, u *account) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find directory for PostgreSQL: %w", err)
	}
	if err := makePrivate(dir, u); err != nil {
		return "", err
	}
	fallback := fallbackFor(dir)
	here, there := exists(filepath.Join(dir, dataDir)), exists(filepath.Join(fallback, dataDir))
	switch {
	case u == nil, reachable(dir, u) && (here || !there):
		return dir, nil
	case here:
		return "",
			fmt.Errorf("user %s, as which PostgreSQL runs, can no longer reach its files in %s; make its parent directories "+
				"passable again (chmod o+x)", u.name, dir)
	}
	if err := os.WriteFile(filepath.Join(dir, locationFile), []byte(fallback+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("say where PostgreSQL's files are: %w", err)
	}
	if err := makePassable(FallbackRoot); err != nil {
		return "", err
	}
	return fallback, makePrivate(fallback, u)
}

func fallbackFor(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(FallbackRoot, hex.EncodeToString(sum[:8]))
}

// makePassable makes a directory of ours that others may pass through but not list. As root, PostgreSQL's user must
// pass, whatever the umask says.
func makePassable(dir string) error {
	err := os.MkdirAll(dir, 0o711)
	if err == nil && os.Geteuid() == 0 {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		return fmt.Errorf("create directory %s: %w", dir, err)
	}
	return nil
}

func makePrivate(dir string, u *account) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("create directory for PostgreSQL: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("create directory for PostgreSQL: %w", err)
	}
	if u == nil {
		return nil
	}
	if err := os.Chown(dir, int(u.uid), int(u.gid)); err != nil {
		return fmt.Errorf("give directory to user %s: %w", u.name, err)
	}
	return nil
}

// reachable asks the kernel, which knows modes, groups, access lists and mounts.
func reachable(dir string, u *account) bool {
	cmd := exec.Command("/bin/sh", "-c", ":")
	cmd.Dir = dir
	cmd.SysProcAttr = asUser(u)
	return cmd.Run() == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
