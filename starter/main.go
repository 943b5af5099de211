// Command starter is the operator's side of Rollcall: it puts a restored fleet on its roll, shows who waits, and carries
// a human's decisions to the workflows that wait for them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Execute(ctx, SystemIO(), os.Args[1:])
	stop()
	os.Exit(code)
}
