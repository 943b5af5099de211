package faults

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"rollcall/internal/devenv"
)

// disk is a file system in memory that can be full.
type disk struct {
	dir     string
	unmount io.Closer
}

const diskSize = "size=2g"

// newDisk mounts a file system on a directory that it makes, which takes root's rights.
func newDisk(dir string) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, diskSize+",mode=700"); err != nil {
		return nil, fmt.Errorf("mount a file system on %s: %w", dir, err)
	}
	unmount, err := devenv.OnExit(`umount -l "$1"`, dir)
	if err != nil {
		return nil, err
	}
	return &disk{dir, unmount}, nil
}

// fill leaves no room, as if everything else on the disk had grown. empty takes that back.
func (d *disk) fill() error {
	var used syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &used); err != nil {
		return fmt.Errorf("look how full %s is: %w", d.dir, err)
	}
	// It may grow in between, and then a smaller size is refused.
	size := (used.Blocks-used.Bfree)*uint64(used.Bsize) + 1<<20 //nolint:gosec // a size of blocks is positive
	return d.resize(fmt.Sprintf("size=%d", size))
}

func (d *disk) empty() error { return d.resize(diskSize) }

func (d *disk) resize(size string) error {
	if err := syscall.Mount("", d.dir, "tmpfs", syscall.MS_REMOUNT, size); err != nil {
		return fmt.Errorf("resize %s: %w", d.dir, err)
	}
	return nil
}

func (d *disk) close() error { return d.unmount.Close() }
