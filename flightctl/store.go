package flightctl

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// awaiting is the value by which a poll's version is compared.
	awaiting = "true"
	// wakeChannel is where the API servers listen for devices whose held poll is to end.
	wakeChannel = "rendered_version_notifier"
	// together is how many commands go to the store in one round trip.
	together = 500
)

// quiet keeps the library from writing to stderr what its calls return as errors, too.
var quiet = sync.OnceFunc(func() { redis.SetLogger(&logging.VoidLogger{}) })

func openStore(cfg Config) *redis.Client {
	quiet()
	return redis.NewClient(&redis.Options{
		Addr: cfg.StoreAddress, DB: cfg.StoreDB,
		// Read for each new connection, so that a new password needs no restart.
		CredentialsProviderContext: func(context.Context) (string, string, error) {
			password, err := cfg.StorePassword.Read()
			return "", password, err
		},
		ClientName: "rollcall",
		// What follows keeps to the commands that every store of the Redis protocol knows.
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		ReadTimeout:              10 * time.Second, WriteTimeout: 10 * time.Second, PoolSize: 4, DialerRetries: 1,
	})
}

// awaitingKey is the key by which Flight Control's API server knows at a poll that the device has to answer a roll
// call.
func awaitingKey(orgID, name string) string {
	return fmt.Sprintf("v1/%s/device/%s/awaiting-reconnect", orgID, name)
}

// MarkAwaiting writes the keys of these devices. The annotation must be committed before: a poll that finds a key
// without it deletes the key, and the device waits for ever. A key that is there already is overwritten.
func (c *Client) MarkAwaiting(ctx context.Context, orgID string, names []string) error {
	return c.inParts("mark", orgID, names, together, func(org string, names []string) error {
		_, err := c.store.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, name := range names {
				p.Set(ctx, awaitingKey(org, name), awaiting, 0)
			}
			return nil
		})
		return err
	})
}

// MissingAwaiting returns those of these devices whose key is not there, or has a value that Flight Control ignores.
// The order stays.
func (c *Client) MissingAwaiting(ctx context.Context, orgID string, names []string) ([]string, error) {
	var missing []string
	err := c.inParts("look for the keys of", orgID, names, together, func(org string, names []string) error {
		keys := make([]string, len(names))
		for i, name := range names {
			keys[i] = awaitingKey(org, name)
		}
		values, err := c.store.MGet(ctx, keys...).Result()
		if err != nil {
			return err
		}
		for i, value := range values {
			if value != awaiting {
				missing = append(missing, names[i])
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return missing, nil
}

// wakeTogether is how many held polls are ended in one round trip.
const wakeTogether = 25

// Wake ends the held polls of these devices, if they have any, so that their agents poll again and a new key is
// noticed. It is paced for all callers together, by Config.WakesPerSecond.
func (c *Client) Wake(ctx context.Context, orgID string, names []string) error {
	part := min(wakeTogether, c.wakes.limiter.Burst())
	return c.inParts("wake", orgID, names, part, func(org string, names []string) error {
		if err := c.wakes.wait(ctx, len(names)); err != nil {
			return err
		}
		_, err := c.store.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, name := range names {
				message, err := wakeMessage(org, name)
				if err != nil {
					return err
				}
				p.Publish(ctx, wakeChannel, message)
			}
			return nil
		})
		return err
	})
}

// wakeMessage says that something about the device may be new. It has no version on purpose: a version there can
// rewrite the key by which polls are held.
func wakeMessage(orgID, name string) (string, error) {
	body, err := json.Marshal(struct {
		OrgID string `json:"org_id"`
		Name  string `json:"name"`
		Type  string `json:"type"`
	}{orgID, name, "spec-updated"})
	if err != nil {
		return "", err
	}
	message, err := json.Marshal(map[string]string{"body": string(body)})
	return string(message), err
}

// inParts calls do for n names at a time.
func (c *Client) inParts(verb, orgID string, names []string, n int, do func(org string, names []string) error) error {
	org, err := c.storeOrg(orgID)
	if err != nil {
		return fmt.Errorf("%s %d devices: %w", verb, len(names), err)
	}
	for len(names) > 0 {
		part := names[:min(n, len(names))]
		names = names[len(part):]
		if err := do(org, part); err != nil {
			return c.storeError(fmt.Sprintf("%s %d devices", verb, len(part)), err)
		}
	}
	return nil
}

// storeOrg is the organisation in a key, where there is always one.
func (c *Client) storeOrg(id string) (string, error) {
	org, err := c.org(id)
	if err == nil && org == "" {
		org, err = organization("default")
	}
	return org, err
}

func (c *Client) storeError(op string, err error) error {
	text := err.Error()
	if strings.HasPrefix(text, "WRONGPASS") || strings.HasPrefix(text, "NOAUTH") || strings.HasPrefix(text, "ERR AUTH") {
		return fmt.Errorf("%s: %w at %s does not accept the password (set %s or %s): %w", op, ErrStore, c.cfg.StoreAddress,
			EnvStorePassword, EnvStorePasswordFile, err)
	}
	return fmt.Errorf("%s: %w at %s: %w", op, ErrStore, c.cfg.StoreAddress, err)
}
