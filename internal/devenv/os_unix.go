//go:build unix

package devenv

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

const (
	shared    = syscall.LOCK_SH
	exclusive = syscall.LOCK_EX
)

// tryLock locks file without waiting; errLocked where someone else holds it. The lock belongs to the open file, so a
// child that inherits it holds it on after our end.
func tryLock(file *os.File, how int) error {
	err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return err
}

// trusted reports as a *ForeignError that path belongs to someone else than us and root. A path that is not there is
// trusted.
func trusted(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look whose %s is: %w", path, err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if ok && owner.Uid != 0 && int(owner.Uid) != os.Geteuid() {
		return &ForeignError{Path: path, UID: owner.Uid}
	}
	return nil
}

// asUser makes processes run as u; nil changes nothing. A group of their own keeps the terminal's Ctrl-C from them: it
// is for us, and we end them in the right order.
func asUser(u *account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if u != nil {
		attr.Credential = &syscall.Credential{Uid: u.uid, Gid: u.gid}
	}
	return attr
}

const (
	sigInterrupt = syscall.SIGINT
	sigTerminate = syscall.SIGTERM
	sigKill      = syscall.SIGKILL
)
