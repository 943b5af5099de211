//go:build faults

package fault

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Planted reports whether the process has a bug.
func Planted(bug string) bool { return os.Getenv(EnvBug) == bug }

// plan is what happens at one point.
type plan struct {
	at     int
	action string
}

var (
	mu     sync.Mutex
	passed = map[string]int{}
	plans  = read(os.Getenv(Env))
)

func read(text string) map[string][]plan {
	all := map[string][]plan{}
	for _, one := range strings.Split(text, ",") {
		if one == "" {
			continue
		}
		where, action, found := strings.Cut(one, ":")
		point, number, numbered := strings.Cut(where, "#")
		n, err := strconv.Atoi(number)
		if !found || !numbered || err != nil || n < 1 {
			panic(fmt.Sprintf("%s: %q is not of the form POINT#NUMBER:ACTION", Env, one))
		}
		all[point] = append(all[point], plan{n, action})
	}
	return all
}

// At marks a point, and does what Env says.
func At(point string) {
	mu.Lock()
	passed[point]++
	n := passed[point]
	mu.Unlock()
	for _, p := range plans[point] {
		delay, delays := strings.CutPrefix(p.action, "delay=")
		switch {
		case delays && n >= p.at:
			d, err := time.ParseDuration(delay)
			if err != nil {
				panic(fmt.Sprintf("%s: %v", Env, err))
			}
			time.Sleep(d)
		case n != p.at:
		case p.action == "stop":
			act(point, n, syscall.SIGSTOP)
		case p.action == "kill":
			act(point, n, syscall.SIGKILL)
			select {} // until the signal has come
		}
	}
}

func act(point string, n int, signal syscall.Signal) {
	fmt.Fprintf(os.Stderr, "fault: %v at %s#%d\n", signal, point, n)
	_ = syscall.Kill(os.Getpid(), signal) // a process may always signal itself
}
