//go:build !linux

package faults

import "errors"

type disk struct{}

func newDisk(string) (*disk, error) { return nil, errors.New("disks are filled on Linux only") }

func (*disk) fill() error  { return nil }
func (*disk) full() error  { return nil }
func (*disk) empty() error { return nil }
func (*disk) close() error { return nil }
