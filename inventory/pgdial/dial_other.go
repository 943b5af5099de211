//go:build !linux

package pgdial

import (
	"syscall"
	"time"
)

// giveUpAfter does nothing where the system has no such limit in common with others. Keep-alives still find the silent
// end of an idle connection; what was sent and is not acknowledged waits as long as the system wants.
func giveUpAfter(time.Duration) func(network, address string, socket syscall.RawConn) error {
	return nil
}
