//go:build !unix

package devenv

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

const (
	shared       = 0
	exclusive    = 1
	sigInterrupt = syscall.SIGINT
	sigTerminate = syscall.SIGTERM
	sigKill      = syscall.SIGKILL
)

var errNotUnix = errors.New("the development servers need Linux or another Unix system; elsewhere run PostgreSQL and " +
	"Temporal yourself, for example with docker compose")

func tryLock(*os.File, int) error { return errNotUnix }

func asUser(*account) *syscall.SysProcAttr { return nil }

func spawn(*exec.Cmd, syscall.Signal) error { return errNotUnix }

func trusted(string) error { return nil }
