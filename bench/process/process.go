// Package process reads what processes use from /proc, and builds the programs that are measured.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	// ticksPerSecond is the unit of CPU time in /proc, which Linux fixes for all programs.
	ticksPerSecond = 100
	// MiB is a mebibyte.
	MiB = 1 << 20
)

// Usage is what a process holds and has used.
type Usage struct {
	MiB        float64 // resident memory of its own
	CPUSeconds float64 // since it began
}

// Add adds other to u.
func (u *Usage) Add(other Usage) {
	u.MiB += other.MiB
	u.CPUSeconds += other.CPUSeconds
}

// UsageOf adds up what these processes and those that they have started use. Memory that several share is counted for
// each. The error is that of a machine without /proc, or of a process that has gone.
func UsageOf(pids ...int) (Usage, error) {
	var sum Usage
	children, err := childrenOf()
	if err != nil {
		return sum, err
	}
	for _, pid := range pids {
		one, err := Read(pid)
		if err != nil {
			return sum, fmt.Errorf("read what process %d uses: %w", pid, err)
		}
		sum.Add(one.Usage)
		sum.CPUSeconds += one.childrenCPU
		for _, child := range children[pid] {
			// One that has ended meanwhile is counted with its parent the next time.
			if one, err := Read(child); err == nil {
				sum.Add(one.Usage)
			}
		}
	}
	return sum, nil
}

func childrenOf() (map[int][]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return nil, errors.Join(errors.New("read what processes there are: there is no /proc"), err)
	}
	children := map[int][]int{}
	for _, path := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if one, err := Read(pid); err == nil {
			children[one.Parent] = append(children[one.Parent], pid)
		}
	}
	return children, nil
}

// Process is one line of the list of processes.
type Process struct {
	Usage
	Name   string
	Parent int
	// childrenCPU is the CPU time of children that have ended, in seconds.
	childrenCPU float64
}

// Read reads one process.
func Read(pid int) (Process, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, err
	}
	// The name stands in parentheses and may hold blanks; what follows is numbers, but for the state.
	begin, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:]))
	const parent, user, system, childUser, childSystem, resident = 1, 11, 12, 13, 14, 21
	numbers := make([]float64, len(fields))
	for i, field := range fields[1:] {
		if numbers[i+1], err = strconv.ParseFloat(field, 64); err != nil {
			return Process{}, err
		}
	}
	return Process{
		Usage: Usage{
			MiB:        numbers[resident] * float64(os.Getpagesize()) / MiB,
			CPUSeconds: (numbers[user] + numbers[system]) / ticksPerSecond,
		},
		Name:        string(text[begin+1 : end]),
		Parent:      int(numbers[parent]),
		childrenCPU: (numbers[childUser] + numbers[childSystem]) / ticksPerSecond,
	}, nil
}
