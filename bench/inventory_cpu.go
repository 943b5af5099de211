package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ticks is how many of the kernel's units of CPU time are a second; it is 100 on every Linux that Go runs on.
const ticks = 100

// cpu is how many seconds of CPU all processes of the server have used, ended ones too. It does not change with what else
// the machine does, which a duration does. Zero where it cannot be read: the server is elsewhere, or this is no Linux.
func (s *benchServer) cpu(ctx context.Context) float64 {
	var backend int
	if err := s.admin.QueryRowContext(ctx, `select pg_backend_pid()`).Scan(&backend); err != nil {
		return 0
	}
	parent, _, ok := procStat(fmt.Sprint(backend))
	if !ok {
		return 0
	}
	_, used, _ := procStat(parent)
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		if of, own, ok := procStat(filepath.Base(p)); ok && of == parent {
			used += own
		}
	}
	return used / ticks
}

// procStat reads the parent of a server's process, and the CPU time of it and of its children that have ended.
func procStat(pid string) (parent string, used float64, ok bool) {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return "", 0, false
	}
	name, rest, found := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if !found || !strings.HasSuffix(name, "(postgres") || len(fields) < 15 {
		return "", 0, false
	}
	for _, field := range fields[11:15] {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return "", 0, false
		}
		used += n
	}
	return fields[1], used, true
}
