package devenv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// checkedAt is the key below which Works writes into the data of the namespace.
const checkedAt = "rollcall-checked-at"

// Works writes to the server and returns the error where that fails. The server's health does not show that: a server
// whose database fails at every write goes on to say SERVING.
func (t *Temporal) Works(ctx context.Context) error {
	c, err := connect(t.Address(), t.cfg.Namespace)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.WorkflowService().UpdateNamespace(ctx, &workflowservice.UpdateNamespaceRequest{
		Namespace: t.cfg.Namespace,
		// A value that is there already would not be written.
		UpdateInfo: &namespace.UpdateNamespaceInfo{Data: map[string]string{checkedAt: time.Now().Format(time.RFC3339Nano)}},
	})
	if err != nil {
		return fmt.Errorf("write to Temporal: %w", err)
	}
	return nil
}

// Restart ends the server, by force where it does not end by itself, and starts it on the same files and ports. A
// server in memory is not restarted, because its data would be gone.
func (t *Temporal) Restart(ctx context.Context) (*Temporal, error) {
	if t.cfg.Dir == "" {
		return nil, errors.New("restart Temporal: its data are in memory only and would be gone")
	}
	if err := t.Stop(); err != nil && !t.server.hasEnded() {
		return nil, fmt.Errorf("restart Temporal: %w", err)
	}
	cfg := t.cfg
	cfg.Port = t.port
	if cfg.UIPort != NoUI {
		cfg.UIPort = t.uiPort
	}
	again, err := StartTemporal(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("restart Temporal: %w", err)
	}
	if again.port != t.port {
		return nil, errors.Join(fmt.Errorf("restart Temporal: port %d is taken", t.port), again.Stop())
	}
	return again, nil
}
