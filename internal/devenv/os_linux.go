package devenv

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// spawn starts cmd so that the kernel sends it deathSignal when we die, even by SIGKILL.
func spawn(cmd *exec.Cmd, deathSignal syscall.Signal) error {
	cmd.SysProcAttr.Pdeathsig = deathSignal
	result := make(chan error, 1)
	spawner() <- func() { result <- cmd.Start() }
	return <-result
}

// spawner runs functions on one OS thread that lives as long as the process: the kernel takes the end of the thread
// that started a child for its parent's death, and Go ends idle threads as it likes.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for do := range work {
			do()
		}
	}()
	return work
})
