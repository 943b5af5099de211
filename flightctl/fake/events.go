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

// queueRetries is how often an event is tried again that the queue did not take. The number and the pauses, which grow
// from Config.QueueBackoff, are those of RetryConfig in the real one's pkg/queues: 5 to 36 s in all.
const queueRetries = 5

// enqueue gives the worker an event, and while the store is away it tries that again. Whoever called hangs meanwhile.
// So a call that meets a store which comes back soon is rendered then, which was seen of the real one. After the last
// attempt, or when the caller has gone, the event is given up and only logged: EmitEvent in internal/worker_client is
// called with the request's context and returns no error.
func (f *FlightControl) enqueue(ctx context.Context, org string, e event) {
	body, err := json.Marshal(task{Org: org, Kind: e.kind, Name: e.name, Reason: e.reason})
	if err != nil {
		panic(err) // strings only
	}
	err = f.queue.XAdd(ctx, &redis.XAddArgs{Stream: taskQueue, Values: map[string]any{"body": body}}).Err()
	if err != nil {
		f.log.Error("enqueue", "name", e.name, "error", err)
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
