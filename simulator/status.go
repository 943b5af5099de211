package simulator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	// apiVersion is without a group, as agents write it.
	apiVersion   = "v1beta1"
	agentVersion = "1.1.0"
)

// mood is how a device says that it is.
type mood struct {
	summary, updated, reason, info string
	image                          string
}

// online is a device that runs what it reports.
var online = mood{summary: "Online", updated: "UpToDate", reason: "Updated"}

func updating(version uint64) mood {
	return mood{
		summary: "Online", updated: "Updating", reason: "ApplyingUpdate",
		info: fmt.Sprintf("Applying version %d", version),
	}
}

func rebooting(version uint64) mood {
	return mood{
		summary: "Rebooting", updated: "Updating", reason: "Rebooting",
		info: fmt.Sprintf("Rebooting into version %d", version),
	}
}

func failing(version uint64) mood {
	return mood{
		summary: "Error", updated: "OutOfDate", reason: "Error",
		info: fmt.Sprintf("Could not apply version %d; rolled back", version),
	}
}

// telling is what of an agent's status changes. Two agents' lives apart, equal ones mean the same status.
type telling struct {
	version string
	mood    mood
	boots   int64
}

func (a *agent) telling() telling { return telling{a.version, a.mood, a.boots} }

// untold reports whether the status differs from the one that was put last, or none counts as put.
func (a *agent) untold() bool { return a.told == nil || *a.told != a.telling() }

// statusTries is how often a status is tried again that was answered 429 or 5xx, before its next turn.
const statusTries = 6

// report puts the device's status at the service. Only a 200 is success. After any other answer the status is not put,
// and is put at its next turn, or soon where the service cannot take it now.
func (a *agent) report(ctx context.Context) error {
	say := a.telling()
	body, err := json.Marshal(map[string]any{
		"apiVersion": apiVersion, "kind": "Device", "metadata": map[string]string{"name": a.name}, "status": a.status(),
	})
	if err != nil {
		return fmt.Errorf("write a status: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	got, err := a.call(limited, http.MethodPut, "/status", body)
	if err == nil && got.code == http.StatusOK {
		a.fleet.counts.reports.Add(1)
		a.told, a.sayTries = &say, 0
		a.sayAt = time.Time{}
		a.answered()
		return nil
	}
	a.sayAt = time.Now().Add(a.sayAgain(got))
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return a.fleet.unreachable("report the status", err)
	case got.code == http.StatusBadRequest:
		a.answered() // the service has read it
	}
	return a.fleet.failed("report the status", got)
}

// sayAgain is how long a status waits that was not taken.
func (a *agent) sayAgain(got answer) time.Duration {
	t := a.fleet.cfg.Timing
	if got.code != http.StatusTooManyRequests && got.code/100 != 5 || a.sayTries >= statusTries {
		a.sayTries = 0
		return t.StatusEvery
	}
	wait := grown(t.CallRetry, t.CallRetryMax, 1.5, a.sayTries)
	a.sayTries++
	if got.retryAfter > 0 {
		return min(got.retryAfter, t.CallRetryMax)
	}
	return jittered(wait, 0.1, a.throw("say", a.retries).Float64())
}

// status is the device's full one: what it was before, with what the agent knows now.
func (a *agent) status() map[string]any {
	status := map[string]any{}
	var base map[string]json.RawMessage
	if json.Unmarshal(a.base, &base) == nil {
		for name, value := range base {
			status[name] = value
		}
	}
	status["config"] = map[string]string{"renderedVersion": a.version}
	status["summary"] = part(a.mood.summary, a.mood.info)
	status["updated"] = part(a.mood.updated, a.mood.info)
	status["conditions"] = []any{a.condition()}
	// It is the service's. An agent does not know it, and says so, so that what the service has written stays.
	status["lifecycle"] = part("Unknown", "")
	status["systemInfo"] = a.systemInfo(base["systemInfo"])
	if a.mood.image != "" {
		status["os"] = map[string]string{"image": a.mood.image, "imageDigest": ""}
	}
	for name, value := range map[string]any{
		"applicationsSummary": part("Healthy", ""),
		"resources":           map[string]string{"cpu": "Healthy", "memory": "Healthy", "disk": "Healthy"},
	} {
		if status[name] == nil {
			status[name] = value
		}
	}
	return status
}

func part(status, info string) map[string]string {
	p := map[string]string{"status": status}
	if info != "" {
		p["info"] = info
	}
	return p
}

// condition is the one of type Updating, as Flight Control's agents put it.
func (a *agent) condition() map[string]string {
	holds := "False"
	if a.mood.updated == "Updating" {
		holds = "True"
	}
	if a.transition.IsZero() || a.held != holds {
		a.held, a.transition = holds, time.Now()
	}
	return map[string]string{
		"type": "Updating", "status": holds, "reason": a.mood.reason, "message": a.mood.info,
		"lastTransitionTime": a.transition.UTC().Format(time.RFC3339),
	}
}

// systemInfo is another after each boot.
func (a *agent) systemInfo(base json.RawMessage) map[string]any {
	info := map[string]any{}
	var before map[string]json.RawMessage
	if json.Unmarshal(base, &before) == nil {
		for name, value := range before {
			info[name] = value
		}
	}
	for name, value := range map[string]string{
		"architecture": "amd64", "operatingSystem": "linux",
		"hostname": a.plan.Name,
	} {
		if info[name] == nil {
			info[name] = value
		}
	}
	info["agentVersion"] = agentVersion
	if a.boots > 0 || info["bootID"] == nil {
		info["bootID"] = fmt.Sprintf("%016x", a.throw("boot", a.boots).Uint64())
	}
	return info
}
