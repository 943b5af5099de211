// Package printer is how the commands of starter show things: as tables and text for people, as JSON and YAML for
// scripts.
package printer

import (
	"context"
	"io"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/term"

	"rollcall/internal/host"
)

// IO is everything that a command has of the world outside its arguments, so that a test can call a command like a
// function and look at what it wrote.
type IO struct {
	// Stdin is what `-f -` reads.
	Stdin io.Reader
	// Stdout takes results and nothing else; Stderr takes errors, progress and hints.
	Stdout, Stderr io.Writer
	// Env looks an environment variable up, as os.LookupEnv does.
	Env func(key string) (string, bool)
	// IsTerminal reports whether a person watches w, so that progress may be drawn and not only be written in lines.
	IsTerminal func(w io.Writer) bool
	// Size is the size of the screen that a terminal w has; nil and 0 are one of 80 by 24.
	Size func(w io.Writer) (width, height int)
	// Now is the wall clock.
	Now func() time.Time
	// Dir is the folder that the command runs in: .rollcall/env beside a running `starter dev` is looked for there.
	Dir string
	// Dial connects to Temporal as the environment says: host.Dial.
	Dial func(ctx context.Context, opts host.DialOptions) (client.Client, error)
	// SendsCredentials reports whether that connection carries what a server can tell its caller by:
	// host.SendsCredentials.
	SendsCredentials func() (bool, error)
}

// SystemIO is the IO of this process.
func SystemIO() IO {
	dir, err := os.Getwd()
	if err != nil {
		dir = "."
	}
	return IO{
		Stdin:            os.Stdin,
		Stdout:           os.Stdout,
		Stderr:           os.Stderr,
		Env:              os.LookupEnv,
		IsTerminal:       isTerminal,
		Size:             screenSize,
		Now:              time.Now,
		Dir:              dir,
		Dial:             host.Dial,
		SendsCredentials: host.SendsCredentials,
	}
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
