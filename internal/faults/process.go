package faults

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"rollcall/internal/fault"
)

// process is a program that is started again whenever it ends, until it is stopped.
type process struct {
	name    string
	program string
	args    []string
	env     []string
	// plan says what happens to the next process, as fault.Env has it; empty is nothing.
	plan func() string
	say  func(format string, args ...any)
	// broke counts what was broken.
	broke func(what string)
	// halts is called each time that the process halts at a point, where it stays until it is signalled.
	halts func(*process)
	log   *os.File

	mu      sync.Mutex
	cmd     *exec.Cmd
	stopped bool
	done    chan struct{}
}

// restartAfter is how long a process that has ended stays away.
const restartAfter = 200 * time.Millisecond

func (p *process) start(dir string) error {
	var err error
	p.log, err = os.Create(filepath.Join(dir, p.name+".log"))
	if err != nil {
		return fmt.Errorf("log of %s: %w", p.name, err)
	}
	p.done = make(chan struct{})
	go p.supervise()
	return nil
}

func (p *process) supervise() {
	defer close(p.done)
	defer p.log.Close()
	for p.run() {
		time.Sleep(restartAfter)
	}
}

// run runs the program once. It reports whether it is to be started again.
func (p *process) run() bool {
	cmd := exec.Command(p.program, p.args...)
	plan := p.plan()
	cmd.Env = append(os.Environ(), append(p.env, fault.Env+"="+plan)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		p.say("%s: %v", p.name, err)
		return false
	}
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		return false
	}
	if err = cmd.Start(); err == nil {
		p.cmd = cmd
	}
	p.mu.Unlock()
	if err != nil {
		p.say("%s: %v", p.name, err)
		return false
	}
	p.say("%s starts, plan %q", p.name, plan)
	p.follow(stderr)
	err = cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd = nil
	p.say("%s has ended: %v", p.name, err)
	return !p.stopped
}

// follow writes what the program says to its log, and to the timeline where it met its plan.
func (p *process) follow(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fmt.Fprintln(p.log, lines.Text())
		if what, met := strings.CutPrefix(lines.Text(), "fault: "); met {
			p.say("%s: %s", p.name, what)
			p.broke(atPoint(what))
			if strings.HasPrefix(what, syscall.SIGSTOP.String()) {
				p.halts(p)
			}
		}
	}
	_, _ = io.Copy(p.log, stderr) // after a line that is too long
}

// atPoint is what a program has met at a point, such as "killed at commit.after#3", without the number.
func atPoint(what string) string {
	what, _, _ = strings.Cut(what, "#")
	return what
}

// signal sends a signal to the process that runs now, if one does.
func (p *process) signal(signal syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(signal) // it may have ended
	}
}

// freeze stops the process for a while.
func (p *process) freeze(ctx context.Context, length time.Duration) {
	p.say("%s is frozen for %s", p.name, length)
	p.broke("process frozen")
	p.signal(syscall.SIGSTOP)
	wait(ctx, length)
	p.signal(syscall.SIGCONT)
}

// renew ends the process, so that another starts with the plan of now.
func (p *process) renew() { p.signal(syscall.SIGKILL) }

func (p *process) stop() {
	p.mu.Lock()
	p.stopped = true
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		_ = p.cmd.Process.Kill()
	}
	p.mu.Unlock()
	if p.done != nil {
		<-p.done
	}
}

func wait(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}
