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

func (w *workers) startOne(ctx context.Context) error {
	cmd, addresses, err := startSelf(ctx, w.options.args())
	if err != nil {
		return fmt.Errorf("start a worker: %w", err)
	}
	w.processes = append(w.processes, &workerProcess{cmd: cmd, counter: addresses[0]})
	return nil
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
func (w *workers) kill() {
	for _, p := range w.processes {
		_ = p.cmd.Process.Kill() // it may have ended already
		_ = p.cmd.Wait()         // says that it was killed
	}
	w.processes = nil
}

// stop ends the processes in good order.
func (w *workers) stop() error {
	var errs []error
	for _, p := range w.processes {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		errs = append(errs, p.cmd.Wait())
	}
	w.processes = nil
	return errors.Join(errs...)
}
