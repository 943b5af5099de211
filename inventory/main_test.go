package inventory_test

import (
	"testing"

	"rollcall/devenv/devtest"
)

func TestMain(m *testing.M) { devtest.Main(m) }
