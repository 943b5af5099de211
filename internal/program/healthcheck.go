package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthTimeout is longer than what a program takes at most to find that it is not ready.
const healthTimeout = 5 * time.Second

// checkHealth asks the program that listens at this address whether it is ready. It makes the program its own health
// check: an image without a shell has nothing else that could ask.
func checkHealth(ctx context.Context, listen string) error {
	if listen == "" {
		return errors.New("--healthcheck needs --metrics-listen or ROLLCALL_METRICS_LISTEN, the address to ask")
	}
	address, err := localAddress(listen)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", http.NoBody)
	if err != nil {
		return fmt.Errorf("ask whether it is ready: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask whether it is ready: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
	return fmt.Errorf("not ready: %s: %s", answer.Status, strings.TrimSpace(string(said)))
}

// localAddress is where a program that listens on this address is reached from its own machine.
func localAddress(listen string) (string, error) {
	name, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("--metrics-listen %q is no address: %w", listen, err)
	}
	if ip := net.ParseIP(name); name == "" || ip.IsUnspecified() {
		name = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			name = "::1"
		}
	}
	return net.JoinHostPort(name, port), nil
}
