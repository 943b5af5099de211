package faults

import (
	"cmp"
	"errors"
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

const (
	diskSize = "size=2g"
	// spare is what a full disk still takes.
	spare = 1 << 20
)

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
	size := (used.Blocks-used.Bfree)*uint64(used.Bsize) + spare //nolint:gosec // a size of blocks is positive
	return d.resize(fmt.Sprintf("size=%d", size))
}

// full checks that nothing more can be written.
func (d *disk) full() error {
	file, err := os.CreateTemp(d.dir, "fill")
	if errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("try to write to %s: %w", d.dir, err)
	}
	_, err = file.Write(make([]byte, 4*spare))
	err = errors.Join(err, file.Close(), os.Remove(file.Name()))
	if !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%s is not full: %w", d.dir, cmp.Or(err, errors.New("it takes more")))
	}
	return nil
}

func (d *disk) empty() error { return d.resize(diskSize) }

func (d *disk) resize(size string) error {
	if err := syscall.Mount("", d.dir, "tmpfs", syscall.MS_REMOUNT, size); err != nil {
		return fmt.Errorf("resize %s: %w", d.dir, err)
	}
	return nil
}

func (d *disk) close() error { return d.unmount.Close() }
