package main

import (
	"os"
	"testing"

	"rollcall/internal/devenv/devtest"
)

// envRunStarter makes the test binary be the program itself, for tests that need a process.
const envRunStarter = "ROLLCALL_TEST_RUN_STARTER"

func TestMain(m *testing.M) {
	if os.Getenv(envRunStarter) != "" {
		main()
		return
	}
	devtest.Main(m)
}
