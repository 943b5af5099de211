package devenv

import (
	"fmt"
	"io"
	"os/exec"
	"sync"
)

// OnExit runs a shell script once this process has ended, however it ends, or once the returned Closer is closed. args
// are the script's $1, $2 and so on. It serves what the kernel cannot do for us, such as removing files.
func OnExit(script string, args ...string) (io.Closer, error) {
	// The write end of the pipe is never written to: the shell's read ends when no one holds it any more.
	cmd := exec.Command("/bin/sh", append([]string{"-c", "read -r _; " + script, "on-exit"}, args...)...)
	cmd.SysProcAttr = asUser(nil)
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("prepare what is done at exit: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("prepare what is done at exit: %w", err)
	}
	s := &exitScript{pipe: pipe, cmd: cmd}
	exitScripts.Store(s, nil)
	return s, nil
}

// exitScripts keeps the garbage collector from closing the pipe of a script that no one holds.
var exitScripts sync.Map

type exitScript struct {
	pipe io.Closer
	cmd  *exec.Cmd
}

// Close runs the script now and waits for it.
func (s *exitScript) Close() error {
	exitScripts.Delete(s)
	s.pipe.Close()
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("run what is done at exit: %w", err)
	}
	return nil
}
