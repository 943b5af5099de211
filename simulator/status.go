package simulator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	apiVersion   = "flightctl.io/v1beta1"
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
	return mood{summary: "Online", updated: "Updating", reason: "ApplyingUpdate", info: fmt.Sprintf("Applying version %d", version)}
}

func rebooting(version uint64) mood {
	return mood{summary: "Rebooting", updated: "Updating", reason: "Rebooting", info: fmt.Sprintf("Rebooting into version %d", version)}
}

func failing(version uint64) mood {
	return mood{summary: "Error", updated: "OutOfDate", reason: "Error", info: fmt.Sprintf("Could not apply version %d; rolled back", version)}
}

// report replaces the device's status at the service. A 400 is an answer, too: the service has read it.
func (a *agent) report(ctx context.Context) error {
	body, err := json.Marshal(map[string]any{
		"apiVersion": apiVersion, "kind": "Device", "metadata": map[string]string{"name": a.name}, "status": a.status(),
	})
	if err != nil {
		return fmt.Errorf("write a status: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	got, err := a.call(limited, http.MethodPut, "/status", body)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return a.fleet.unreachable("report the status", err)
	case got.code == http.StatusNotFound:
		return a.wipe()
	case got.code == http.StatusBadRequest:
		a.fleet.counts.refused.Add(1)
	case got.code/100 == 2:
		a.fleet.counts.reports.Add(1)
		a.failures = 0
	default:
		return a.fleet.failed("report the status", got)
	}
	a.answered()
	a.unsaid, a.saidAt = false, time.Now()
	return nil
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
	status["systemInfo"] = a.systemInfo(base["systemInfo"])
	if a.mood.image != "" {
		status["os"] = map[string]string{"image": a.mood.image, "imageDigest": ""}
	}
	for name, value := range map[string]any{
		"applicationsSummary": part("Healthy", ""), "lifecycle": part("Enrolled", ""),
		"resources": map[string]string{"cpu": "Healthy", "memory": "Healthy", "disk": "Healthy"},
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
	return map[string]string{
		"type": "Updating", "status": holds, "reason": a.mood.reason, "message": a.mood.info,
		"lastTransitionTime": time.Now().UTC().Format(time.RFC3339),
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
	for name, value := range map[string]string{"architecture": "amd64", "operatingSystem": "linux", "hostname": a.plan.Name} {
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
