package fake_test

import (
	"testing"

	"rollcall/internal/devenv/devtest"
)

func TestMain(m *testing.M) { devtest.Main(m) }
