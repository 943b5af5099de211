// Package devtest gives tests a real PostgreSQL and a real Temporal server. Both start when the first test of a binary
// asks for them, and are shared by its tests; each test gets a database and a namespace of its own, so that all can
// run in parallel.
//
//	func TestMain(m *testing.M) { devtest.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		t.Parallel()
//		store, err := inventory.Open(t.Context(), devtest.Database(t))
//		…
//	}
//
// Nothing is left behind, even where the tests panic or are killed. Tests of package inventory must be in
// inventory_test: devtest imports inventory.
//
// To use servers that run already, set ROLLCALL_TEST_DATABASE_URL (a user who may create databases) and
// ROLLCALL_TEST_TEMPORAL_ADDRESS.
package devtest

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// Variables that name servers to use in place of our own.
const (
	EnvDatabaseURL     = "ROLLCALL_TEST_DATABASE_URL"
	EnvTemporalAddress = "ROLLCALL_TEST_TEMPORAL_ADDRESS"
)

// Main runs the tests of a binary, ends the servers that they started, and exits.
func Main(m *testing.M) {
	code := m.Run()
	if err := atEnd.run(); err != nil {
		fmt.Fprintln(os.Stderr, "devtest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// atEnd is what Main does after the tests, last added first.
var atEnd stack

type stack struct {
	mu    sync.Mutex
	funcs []func() error
}

func (s *stack) add(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.funcs = append(s.funcs, f)
}

func (s *stack) run() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first error
	for i := len(s.funcs) - 1; i >= 0; i-- {
		if err := s.funcs[i](); err != nil && first == nil {
			first = err
		}
	}
	return first
}
