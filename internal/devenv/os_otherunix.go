//go:build unix && !linux

package devenv

import (
	"os/exec"
	"strconv"
	"syscall"
)

// spawn starts cmd, and a shell that sends it deathSignal when we die: this system has no way to ask the kernel for it.
func spawn(cmd *exec.Cmd, deathSignal syscall.Signal) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	_, err := OnExit(`kill -"$1" "$2"`, strconv.Itoa(int(deathSignal)), strconv.Itoa(cmd.Process.Pid))
	return err
}
