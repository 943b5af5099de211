package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ticksPerSecond is the unit of CPU time in /proc, which Linux fixes for all programs.
const ticksPerSecond = 100

// usage is what a process holds and has used.
type usage struct {
	MiB        float64 // resident memory
	CPUSeconds float64 // since it began
}

// usageOf adds up what these processes use; the error is that of a machine without /proc, or of a process that has gone.
func usageOf(pids ...int) (usage, error) {
	var sum usage
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return usage{}, fmt.Errorf("read what process %d uses: %w", pid, err)
		}
		for line := range strings.Lines(string(status)) {
			if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				n, err := strconv.ParseFloat(strings.Fields(kb)[0], 64)
				if err != nil {
					return usage{}, fmt.Errorf("read what process %d uses: %w", pid, err)
				}
				sum.MiB += n / 1024
			}
		}
		cpu, err := cpuSeconds(pid)
		if err != nil {
			return usage{}, err
		}
		sum.CPUSeconds += cpu
	}
	return sum, nil
}

func cpuSeconds(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read what process %d uses: %w", pid, err)
	}
	// The name stands in parentheses and may hold blanks; user and system time are the 12th and 13th field after it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks float64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, fmt.Errorf("read what process %d uses: %w", pid, err)
		}
		ticks += n
	}
	return ticks / ticksPerSecond, nil
}
