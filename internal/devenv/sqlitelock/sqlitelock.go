//go:build unix

// Package sqlitelock makes writes to another process's SQLite database fail, for tests.
package sqlitelock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// writeLock is the byte of the file beside a database in WAL mode that a writer locks: WAL_WRITE_LOCK in SQLite's file
// format, "The WAL-Index File Format".
const writeLock = 120

// Writes holds the right to write to the database at path, which is in WAL mode and open elsewhere. While it is held,
// others can read the database, and their writes fail with SQLITE_BUSY.
func Writes(path string) (unlock func() error, err error) {
	file, err := os.OpenFile(path+"-shm", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open the WAL index: %w", err)
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: writeLock, Len: 1}
	if err := syscall.FcntlFlock(file.Fd(), syscall.F_SETLKW, &lock); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the WAL index: %w", err), file.Close())
	}
	return file.Close, nil // which releases the lock
}
