package devenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// RunningError says that a directory is in use by another development server.
type RunningError struct {
	Dir string
	// PID is the process that holds the directory, or 0 where it has not said so yet.
	PID int
}

// Error names the process, and says what to do.
func (e *RunningError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("a development server runs in %s already (%s): use it from here, or end it with Ctrl-C first",
		e.Dir, who)
}

// Lock is the exclusive right to run a development server in a directory. The kernel takes it back when the process
// ends.
type Lock struct {
	dir  string
	file *os.File
}

// lockTimeout outlasts the moment for which LoadEnv looks at the lock.
const lockTimeout = time.Second

// LockDir takes the lock of dir, which it creates if need be, and writes our process id to dir/pid. Where another
// process holds it the error is a *RunningError.
func LockDir(dir string) (*Lock, error) {
	if err := makePassable(dir); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	file, err := waitForLock(ctx, filepath.Join(dir, "lock"))
	if errors.Is(err, errLocked) {
		return nil, &RunningError{Dir: dir, PID: readPID(dir)}
	}
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(pidFile(dir), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		file.Close()
		return nil, fmt.Errorf("write process id: %w", err)
	}
	l := &Lock{dir: dir, file: file}
	held.Store(l, nil)
	return l, nil
}

// held keeps the garbage collector from closing the file of a lock that its holder has forgotten.
var held sync.Map

// Unlock gives the lock back.
func (l *Lock) Unlock() error {
	held.Delete(l)
	removeErr := os.Remove(pidFile(l.dir))
	return errors.Join(removeErr, l.file.Close())
}

// isLocked reports whether a living process holds the lock of dir.
func isLocked(dir string) (bool, error) {
	file, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the lock of %s: %w", dir, err)
	}
	defer file.Close()
	err = tryLock(file, shared)
	if errors.Is(err, errLocked) {
		return true, nil
	}
	return false, err
}

var errLocked = errors.New("locked by another process")

// waitForLock locks the file at path exclusively, and waits for it until ctx ends; the error is then errLocked.
func waitForLock(ctx context.Context, path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	for {
		err := tryLock(file, exclusive)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, errLocked) {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", path, errLocked)
		case <-time.After(25 * time.Millisecond):
		}
	}
}

func pidFile(dir string) string { return filepath.Join(dir, "pid") }

func readPID(dir string) int {
	text, err := os.ReadFile(pidFile(dir))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// claim locks a server's directory, and opens the server's log (openLog).
func claim(ctx context.Context, dir string, given io.Writer) (*os.File, *serverLog, error) {
	lock, err := waitForLock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return nil, nil, err
	}
	log, err := openLog(given, dir)
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	return lock, log, nil
}
