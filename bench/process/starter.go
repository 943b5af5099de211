package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// StarterUsage is the help of the flag --starter.
const StarterUsage = "`path` of the starter program (default: built now)"

// Starter is the program of --starter, or one that is built now.
func Starter(ctx context.Context, given string) (program string, done func(), err error) {
	if given != "" {
		program, err = filepath.Abs(given)
		return program, func() {}, err
	}
	dir, err := os.MkdirTemp("", "rollcall-bench-starter-")
	if err != nil {
		return "", nil, err
	}
	program = filepath.Join(dir, "starter")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", program, "rollcall/starter")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build
	if out, err := build.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("build starter, which needs the project's folder or bench as the working directory: "+
			"%w\n%s", err, out)
	}
	return program, func() { _ = os.RemoveAll(dir) }, nil
}
