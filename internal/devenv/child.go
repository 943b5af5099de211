package devenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// program is what a child runs.
type program struct {
	name   string // for people
	path   string
	args   []string
	user   *account       // nil is our own
	end    syscall.Signal // asks it to end in good order; it gets this when we die, too
	lock   *os.File       // inherited, so that the lock is held as long as the process lives
	log    *serverLog
	ignore string // environment variables with this prefix are kept from it
	env    []string
}

// child is a running program.
type child struct {
	program
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of its end; read after done
}

func start(p program) (*child, error) {
	c := &child{program: p, done: make(chan struct{})}
	c.cmd = exec.Command(p.path, p.args...)
	c.cmd.Env = append(environWithout(p.ignore), p.env...)
	c.cmd.Dir = "/"
	c.cmd.SysProcAttr = asUser(p.user)
	c.cmd.ExtraFiles = []*os.File{p.lock}
	c.cmd.Stdout = p.log.writer()
	c.cmd.Stderr = c.cmd.Stdout
	c.cmd.WaitDelay = time.Second
	if err := spawn(c.cmd, p.end); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

// waitUntil calls ready until it returns nil. It gives up when the child ends or ctx does, with an error that ends in
// the last words of the child.
func (c *child) waitUntil(ctx context.Context, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-c.done:
			return fmt.Errorf("start %s: it ended at once (%w)%s", c.name, orExited(c.err), c.log)
		case <-ctx.Done():
			return fmt.Errorf("start %s: it does not answer (%w)%s", c.name, err, c.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop asks the child to end, and kills it where it has not after grace. It may be called again.
func (c *child) stop(grace time.Duration) error {
	if c.hasEnded() {
		return nil
	}
	if err := c.cmd.Process.Signal(c.end); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", c.name, err)
	}
	select {
	case <-c.done:
		return nil
	case <-time.After(grace):
	}
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", c.name, err)
	}
	<-c.done
	return fmt.Errorf("stop %s: it did not end within %s and was killed", c.name, grace)
}

// hasEnded reports whether the child runs no more.
func (c *child) hasEnded() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func orExited(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// environWithout is our environment less what would change the child's behaviour.
func environWithout(prefix string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, prefix) {
			env = append(env, v)
		}
	}
	return env
}
