package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// workers are the worker processes of one run.
type workers struct {
	options   workerOptions
	processes []*workerProcess
}

type workerProcess struct {
	cmd     *exec.Cmd
	counter string // its address
	limit   *cpuGroup
}

func startWorkers(ctx context.Context, n int, o workerOptions) (*workers, error) {
	w := &workers{options: o}
	for range n {
		if err := w.startOne(ctx); err != nil {
			return nil, errors.Join(err, w.stop())
		}
	}
	return w, nil
}

// startOne starts a worker and limits it once it is about to poll: before, it would start slowly.
func (w *workers) startOne(ctx context.Context) error {
	cmd, addresses, err := startSelf(ctx, w.options.args())
	if err != nil {
		return fmt.Errorf("start a worker: %w", err)
	}
	p := &workerProcess{cmd: cmd, counter: addresses[0]}
	w.processes = append(w.processes, p)
	if w.options.cpu > 0 {
		p.limit, err = limitCPU(cmd.Process.Pid, w.options.cpu)
	}
	return err
}

// startSelf starts this program with other arguments, and returns the addresses that it says it listens on.
func startSelf(ctx context.Context, args []string) (*exec.Cmd, []string, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find the bench's own binary: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer read.Close()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{write}
	if _, err = cmd.StdinPipe(); err == nil { // our end of it closes with us (untilLeft)
		err = cmd.Start()
	}
	write.Close()
	if err != nil {
		return nil, nil, err
	}
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("it has ended: %w", err), cmd.Wait())
	}
	return cmd, strings.Fields(line), nil
}

// askSelf asks a process that startSelf has started, at an address of its, for a JSON document.
func askSelf(ctx context.Context, method, address string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+address, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}

// counts adds up what the processes have counted.
func (w *workers) counts(ctx context.Context) (counts, error) {
	var sum counts
	for _, p := range w.processes {
		var one counts
		if err := askSelf(ctx, http.MethodGet, p.counter, &one); err != nil {
			return counts{}, fmt.Errorf("ask a worker what it has done: %w", err)
		}
		sum.Begun += one.Begun
		sum.Ended += one.Ended
	}
	return sum, nil
}

func (w *workers) pids() []int {
	var pids []int
	for _, p := range w.processes {
		pids = append(pids, p.cmd.Process.Pid)
	}
	return pids
}

// kill ends the processes as a crash does.
func (w *workers) kill() error {
	var errs []error
	for _, p := range w.processes {
		_ = p.cmd.Process.Kill() // it may have ended already
		_ = p.cmd.Wait()         // says that it was killed
		errs = append(errs, p.limit.remove())
	}
	w.processes = nil
	return errors.Join(errs...)
}

// stop ends the processes in good order, and without limits, with which that would take long.
func (w *workers) stop() error {
	var errs []error
	for _, p := range w.processes {
		errs = append(errs, p.limit.remove())
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		errs = append(errs, p.cmd.Wait())
	}
	w.processes = nil
	return errors.Join(errs...)
}
