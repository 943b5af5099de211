package fake

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

const taskQueue = "task-queue"

// event is what it says in its table and in the queue.
type event struct {
	reason, kind, name, message string
	warning                     bool
	// actor and requestID are empty for what no user called.
	actor, requestID string
}

// say writes an event into the table.
func (f *FlightControl) say(ctx context.Context, org string, e event) error {
	annotations, source, kind := "{}", "flightctl-api", "Normal"
	if e.requestID != "" {
		raw, err := json.Marshal(texts{requestIDOfEvent: e.requestID})
		if err != nil {
			return err
		}
		annotations = string(raw)
	}
	if e.warning {
		kind = "Warning"
	}
	_, err := f.db.ExecContext(ctx,
		`insert into events (org_id, name, labels, annotations, resource_version, created_at, updated_at,
		reason, source_component, actor, type, message, details, involved_object_name, involved_object_kind)
		values ($1, $2, '{}', $3, 1, now(), now(), $4, $5, $6, $7, $8, 'null', $9, $10)`,
		org, uuid.NewString(), annotations, e.reason, source, e.actor, kind, e.message, e.name, e.kind)
	if err != nil {
		return fmt.Errorf("write event %s: %w", e.reason, err)
	}
	return nil
}

// task is an entry of the queue.
type task struct {
	Org    string `json:"orgId"`
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// enqueue gives the worker an event. While the store is away it waits, whether or not someone waits for it: whoever
// called hangs, and the event is in the queue as soon as the store is back.
func (f *FlightControl) enqueue(org string, e event) {
	body, err := json.Marshal(task{Org: org, Kind: e.kind, Name: e.name, Reason: e.reason})
	if err != nil {
		panic(err) // strings only
	}
	for f.ctx.Err() == nil {
		err := f.store.XAdd(f.ctx, &redis.XAddArgs{Stream: taskQueue, Values: map[string]any{"body": body}}).Err()
		if err == nil {
			return
		}
		f.log.Error("enqueue", "error", err)
		pause(f.ctx, 100*time.Millisecond)
	}
}

// work renders what the queue says, one after the other.
func (f *FlightControl) work() {
	for f.ctx.Err() == nil {
		f.mu.Lock()
		paused := f.paused
		f.mu.Unlock()
		if paused {
			pause(f.ctx, 10*time.Millisecond)
			continue
		}
		entries, err := f.store.XRangeN(f.ctx, taskQueue, "-", "+", 100).Result()
		if err != nil || len(entries) == 0 {
			pause(f.ctx, 10*time.Millisecond)
			continue
		}
		for _, m := range entries {
			f.handle(m)
		}
	}
}

func (f *FlightControl) handle(m redis.XMessage) {
	body, _ := m.Values["body"].(string)
	var t task
	if err := json.Unmarshal([]byte(body), &t); err == nil && t.Kind == "Device" {
		if err := f.render(f.ctx, t); err != nil {
			f.log.Error("render", "device", t.Name, "error", err)
		}
	}
	f.store.XDel(f.ctx, taskQueue, m.ID)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
