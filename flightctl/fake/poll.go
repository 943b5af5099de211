package fake

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// poll answers an agent's poll. One whose device has the awaiting key is compared and answered at once; another is
// held while the rendered key is the version that the agent knows.
func (f *FlightControl) poll(c call) {
	ctx, name := c.r.Context(), c.name()
	known, said := c.r.URL.Query().Get("knownRenderedVersion"), c.r.URL.Query().Has("knownRenderedVersion")
	f.sawDevice(c.org, name)
	compared := f.compare(ctx, c.org, name, known)
	keyed := ""
	if said && !compared {
		n, woken, err := f.hold(ctx, c.org, name, known)
		switch {
		case err != nil:
			fail(c.w, http.StatusInternalServerError, "InternalError", fmt.Sprintf("failed to wait for notification: %v", err))
			return
		case !woken:
			c.w.WriteHeader(http.StatusNoContent)
			return
		}
		keyed = n.Version
	}
	d, err := f.device(ctx, f.db, c.org, name, "")
	switch {
	case err != nil:
		f.broken(c.w, err)
		return
	case d == nil:
		notFound(c.w, "Device", name)
		return
	}
	version, rendered := d.Annotations[renderedVersion]
	if !rendered {
		fail(c.w, http.StatusConflict, "Conflict", "no rendered version for device")
		return
	}
	if keyed != "" && keyed != version {
		if err := f.storeAndNotify(ctx, c.org, name, version); err != nil {
			f.log.Error("store the rendered version", "device", name, "error", err)
		}
	}
	reply(c.w, http.StatusOK, d.resource())
}

// hold waits while the rendered key is the known version, until a notice comes or the time is over.
func (f *FlightControl) hold(ctx context.Context, org, name, known string) (n notice, woken bool, err error) {
	key := renderedKey(org, name)
	held := make(chan notice, 1)
	f.mu.Lock()
	f.polls[key] = held
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.polls[key] == held {
			delete(f.polls, key)
		}
	}()
	current, err := f.get(ctx, key)
	if err != nil {
		return notice{}, false, err
	}
	if current != known {
		return notice{Version: current}, true, nil
	}
	timer := time.NewTimer(f.cfg.HoldFor)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return notice{}, false, ctx.Err()
	case <-timer.C:
		return notice{}, false, nil
	case n := <-held:
		return n, true, nil
	}
}

// compare does T2 or T3 where the awaiting key says so, and removes the key. Where the annotation is missing it
// removes the key all the same. It reports whether the poll is to be answered at once.
func (f *FlightControl) compare(ctx context.Context, org, name, reported string) bool {
	value, err := f.get(ctx, awaitingKey(org, name))
	if err != nil || value != "true" {
		return false
	}
	paused, err := f.reconnect(ctx, org, name, reported)
	if err != nil {
		f.log.Error("reconnect", "device", name, "error", err)
		return false
	}
	f.at(ctx, PollAfterStatement)
	if err := f.store.Del(ctx, awaitingKey(org, name)).Err(); err != nil {
		f.log.Error("remove the awaiting key", "device", name, "error", err)
	}
	if paused {
		err := f.say(ctx, org, event{
			reason: "DeviceConflictPaused", kind: "Device", name: name, warning: true,
			message: "Device is conflict paused due to version conflict with the restored service",
		})
		if err != nil {
			f.log.Error("write event", "device", name, "error", err)
		}
	}
	return true
}

// number reads a version as Flight Control does: what it cannot read is 0.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// reconnect is T2 or T3 in one statement, which sets no updated_at. It reports whether the device is paused now.
func (f *FlightControl) reconnect(ctx context.Context, org, name, reported string) (paused bool, err error) {
	d, err := f.device(ctx, f.db, org, name, "")
	if err != nil {
		return false, err
	}
	if d == nil {
		return false, fmt.Errorf("device %s is not there", name)
	}
	if d.Annotations[awaitingReconnect] != "true" {
		return false, nil
	}
	if reported == "" {
		reported = "0"
	}
	theirs, ours := number(reported), number(d.Annotations[renderedVersion])
	paused = theirs > ours
	summary, info, updated, added := "Online", "Device is up to date", "OutOfDate", "{}"
	if theirs == ours {
		updated = "UpToDate"
	}
	if paused {
		summary, added = "ConflictPaused", `{"`+conflictPaused+`":"true"}`
		info = fmt.Sprintf("%s (device reported version %s > device version known to service %d)", infoConflictPaused,
			reported, ours)
	}
	_, err = f.db.ExecContext(ctx, `update devices set annotations = (annotations - $3) || $4::jsonb,
		status = jsonb_set(jsonb_set(jsonb_set(coalesce(status, '{}'), '{summary}', jsonb_build_object('status', $5::text,
		'info', $6::text), true),
			'{updated}', jsonb_build_object('status', $7::text), true), '{config,renderedVersion}', to_jsonb($8::text), true),
		resource_version = coalesce(resource_version, 0) + 1 where org_id = $1 and name = $2 and deleted_at is null`,
		org, name, awaitingReconnect, added, summary, info, updated, reported)
	if err != nil {
		return false, fmt.Errorf("write device %s: %w", name, err)
	}
	f.log.Info("compared", "device", name, "reported", reported, "restored", ours, "paused", paused)
	return paused, nil
}
