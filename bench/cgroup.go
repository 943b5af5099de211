package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/internal/devenv"
)

// Control groups of Linux make servers or workers scarce on a machine whose cores one of them would fill: each process
// is held to a share of a core. PostgreSQL never is. The groups stand at the top of the hierarchy: while a process is
// in one, what limits the group it comes from does not count.

const (
	// quotaPeriod is how often a share is given out: often, or a held process would stand still for long.
	quotaPeriod = 20 * time.Millisecond
	// leastQuota is the least that Linux gives out at a time.
	leastQuota = time.Millisecond
	// leastCores keeps the period of leastQuota at a tenth of a second.
	leastCores = 0.01
)

// cpuGroup is a control group that limits the CPU time of the processes in it.
type cpuGroup struct {
	dir    string
	atExit io.Closer
}

// removeGroup gives the processes of group $1 back to group $2, or to the top where that is out of reach, and removes
// $1. It tries several times: processes end slowly, and start others meanwhile.
const removeGroup = `exec 2>/dev/null
for i in 1 2 3 4 5 6 7 8 9 10; do
	for pid in $(cat "$1/cgroup.procs"); do echo "$pid" > "$2/cgroup.procs" || echo "$pid" > "$1/../cgroup.procs"; done
	rmdir "$1" && exit 0
	sleep 0.1
done
exit 1`

// limitCPU holds a process, with all that it starts, to so many cores until remove, or until we have ended.
func limitCPU(pid int, cores float64) (*cpuGroup, error) {
	g, err := newCPUGroup(pid, cores)
	if err != nil {
		return nil, err
	}
	if err := g.write("cgroup.procs", strconv.Itoa(pid)); err != nil {
		return nil, errors.Join(needsGroups(fmt.Errorf("limit the CPU time of process %d: %w", pid, err)), g.remove())
	}
	return g, nil
}

// checkCPULimits says early what limitCPU would say late.
func checkCPULimits(cores float64) error {
	g, err := newCPUGroup(os.Getpid(), cores)
	if err != nil {
		return err
	}
	return g.remove()
}

func newCPUGroup(pid int, cores float64) (*cpuGroup, error) {
	h, err := findHierarchy("/sys/fs/cgroup")
	if err != nil {
		return nil, needsGroups(err)
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, needsGroups(fmt.Errorf("find the control group of process %d: %w", pid, err))
	}
	g := &cpuGroup{dir: filepath.Join(h.dir, fmt.Sprintf("rollcall-bench-%d", pid))}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, needsGroups(fmt.Errorf("make a control group: %w", err))
	}
	if g.atExit, err = devenv.OnExit(removeGroup, g.dir, h.groupAmong(string(groups))); err != nil {
		return nil, errors.Join(err, os.Remove(g.dir))
	}
	for _, s := range h.settings(cores) {
		if err := g.write(s.file, s.value); err != nil {
			return nil, errors.Join(needsGroups(fmt.Errorf("limit control group %s: %w", g.dir, err)), g.remove())
		}
	}
	return g, nil
}

func (g *cpuGroup) write(file, value string) error {
	return os.WriteFile(filepath.Join(g.dir, file), []byte(value), 0o644)
}

// remove lifts the limit. A nil group has none.
func (g *cpuGroup) remove() error {
	if g == nil {
		return nil
	}
	if err := g.atExit.Close(); err != nil {
		return fmt.Errorf("remove control group %s: %w", g.dir, err)
	}
	return nil
}

// needsGroups adds what there has to be.
func needsGroups(err error) error {
	return fmt.Errorf("--server-cpu and --worker-cpu need Linux, root, and control groups with the cpu controller below "+
		"/sys/fs/cgroup, which may be written to: %w", err)
}

// hierarchy is where control groups with the cpu controller are made.
type hierarchy struct {
	dir string
	// unified is version 2 of control groups.
	unified bool
}

// findHierarchy looks below /sys/fs/cgroup.
func findHierarchy(mount string) (hierarchy, error) {
	controllers, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
	if errors.Is(err, os.ErrNotExist) {
		h := hierarchy{dir: filepath.Join(mount, "cpu")}
		_, err := os.Stat(filepath.Join(h.dir, "cgroup.procs"))
		return h, err
	}
	if err != nil {
		return hierarchy{}, err
	}
	if !slices.Contains(strings.Fields(string(controllers)), "cpu") {
		return hierarchy{}, fmt.Errorf("there is no cpu controller in %s", filepath.Join(mount, "cgroup.controllers"))
	}
	// Groups have the controllers that the one above them hands down; that it does so already is no error.
	handDown := filepath.Join(mount, "cgroup.subtree_control")
	return hierarchy{dir: mount, unified: true}, os.WriteFile(handDown, []byte("+cpu"), 0o644)
}

// groupAmong is the directory of this hierarchy's group among those of a process, which are lines of
// "id:controllers:path"; version 2 names no controllers.
func (h hierarchy) groupAmong(groups string) string {
	controller := "cpu"
	if h.unified {
		controller = ""
	}
	for line := range strings.Lines(groups) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) == 3 && slices.Contains(strings.Split(fields[1], ","), controller) {
			return filepath.Join(h.dir, filepath.Join("/", fields[2])) // a path may begin with /.. but nothing is above the top
		}
	}
	return h.dir
}

// setting is a value for a file of a group.
type setting struct{ file, value string }

func (h hierarchy) settings(cores float64) []setting {
	period := max(quotaPeriod, time.Duration(float64(leastQuota)/cores))
	quota := max(leastQuota, time.Duration(float64(period)*cores)) // or it may be a nanosecond less
	if h.unified {
		return []setting{{"cpu.max", fmt.Sprintf("%d %d", quota.Microseconds(), period.Microseconds())}}
	}
	return []setting{
		{"cpu.cfs_period_us", fmt.Sprint(period.Microseconds())},
		{"cpu.cfs_quota_us", fmt.Sprint(quota.Microseconds())},
	}
}
