package fake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

const notifier = "rendered_version_notifier"

func awaitingKey(org, name string) string {
	return fmt.Sprintf("v1/%s/device/%s/awaiting-reconnect", org, name)
}

func renderedKey(org, name string) string { return fmt.Sprintf("v1/%s/device/%s/rendered", org, name) }

// raise sets a key to a number that is above the one there.
var raise = redis.NewScript(`
local there = tonumber(redis.call("get", KEYS[1]))
if not there or tonumber(ARGV[1]) > there then
    redis.call("set", KEYS[1], ARGV[1])
    return 1
end
return 0`)

// storeAndNotify stores the version by which polls are held, and ends those that are.
func (f *FlightControl) storeAndNotify(ctx context.Context, org, name, version string) error {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return err
	}
	raised, err := raise.Run(ctx, f.store, []string{renderedKey(org, name)}, n).Int()
	if err != nil || raised == 0 {
		return err
	}
	body, err := json.Marshal(notice{Org: org, Name: name, Version: version, Type: "spec-updated"})
	if err != nil {
		return err
	}
	message, err := json.Marshal(map[string]string{"body": string(body)})
	if err != nil {
		return err
	}
	return f.store.Publish(ctx, notifier, message).Err()
}

// notice is a message of the channel.
type notice struct {
	Org     string `json:"org_id"`
	Name    string `json:"name"`
	Version string `json:"render_version,omitempty"`
	Type    string `json:"type,omitempty"`
}

// listen ends held polls as the channel says.
func (f *FlightControl) listen(subscribed chan<- struct{}) {
	subscription := f.store.Subscribe(f.ctx, notifier)
	defer func() { _ = subscription.Close() }()
	_, _ = subscription.Receive(f.ctx)
	close(subscribed)
	for {
		select {
		case <-f.ctx.Done():
			return
		case message := <-subscription.Channel():
			if message != nil {
				f.hear(message.Payload)
			}
		}
	}
}

func (f *FlightControl) hear(payload string) {
	var outer struct {
		Body string `json:"body"`
	}
	var n notice
	if json.Unmarshal([]byte(payload), &outer) != nil || json.Unmarshal([]byte(outer.Body), &n) != nil {
		f.log.Error("a message cannot be read", "payload", payload)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if held, ok := f.polls[renderedKey(n.Org, n.Name)]; ok {
		select {
		case held <- n:
		default:
		}
	}
}

// get reads a key; empty where it is not there.
func (f *FlightControl) get(ctx context.Context, key string) (string, error) {
	value, err := f.store.Get(ctx, key).Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	return value, err
}
