package main

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
	mib            = 1 << 20
)

// usage is what a process holds and has used.
type usage struct {
	MiB        float64 // resident memory of its own
	CPUSeconds float64 // since it began
}

func (u *usage) add(other usage) {
	u.MiB += other.MiB
	u.CPUSeconds += other.CPUSeconds
}

// usageOf adds up what these processes and those that they have started use. Memory that several share is counted for
// each. The error is that of a machine without /proc, or of a process that has gone.
func usageOf(pids ...int) (usage, error) {
	var sum usage
	children, err := childrenOf()
	if err != nil {
		return sum, err
	}
	for _, pid := range pids {
		one, err := readProcess(pid)
		if err != nil {
			return sum, fmt.Errorf("read what process %d uses: %w", pid, err)
		}
		sum.add(one.usage)
		sum.CPUSeconds += one.childrenCPU
		for _, child := range children[pid] {
			// One that has ended meanwhile is counted with its parent the next time.
			if one, err := readProcess(child); err == nil {
				sum.add(one.usage)
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
		if one, err := readProcess(pid); err == nil {
			children[one.parent] = append(children[one.parent], pid)
		}
	}
	return children, nil
}

type process struct {
	usage
	name   string
	parent int
	// childrenCPU is the CPU time of children that have ended, in seconds.
	childrenCPU float64
}

func readProcess(pid int) (process, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	// The name stands in parentheses and may hold blanks; what follows is numbers, but for the state.
	begin, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:]))
	const parent, user, system, childUser, childSystem, resident = 1, 11, 12, 13, 14, 21
	numbers := make([]float64, len(fields))
	for i, field := range fields[1:] {
		if numbers[i+1], err = strconv.ParseFloat(field, 64); err != nil {
			return process{}, err
		}
	}
	return process{
		usage: usage{
			MiB:        numbers[resident] * float64(os.Getpagesize()) / mib,
			CPUSeconds: (numbers[user] + numbers[system]) / ticksPerSecond,
		},
		name:        string(text[begin+1 : end]),
		parent:      int(numbers[parent]),
		childrenCPU: (numbers[childUser] + numbers[childSystem]) / ticksPerSecond,
	}, nil
}
