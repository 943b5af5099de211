package inventorybench

import (
	"context"

	"rollcall/bench/process"
)

// cpu is how many seconds of CPU all processes of the server have used, ended ones too. It does not change with what
// else the machine does, which a duration does. Zero where it cannot be read: the server is elsewhere, or this is no
// Linux.
func (s *benchServer) cpu(ctx context.Context) float64 {
	var backend int
	if err := s.admin.QueryRowContext(ctx, `select pg_backend_pid()`).Scan(&backend); err != nil {
		return 0
	}
	own, err := process.Read(backend)
	if err != nil || own.Name != "postgres" {
		return 0
	}
	used, err := process.UsageOf(own.Parent)
	if err != nil {
		return 0
	}
	return used.CPUSeconds
}
