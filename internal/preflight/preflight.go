// Package preflight looks whether everything that a roll call needs is there, before the night depends on it: the
// database, the mode, Temporal, and the gateway or the live Flight Control. It says what to do about what is not.
package preflight

import (
	"context"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"

	"rollcall/flightctl"
	"rollcall/inventory"
	"rollcall/runbook"
)

// The subjects of findings, beside those of package flightctl.
const (
	SubjectDatabase = "database"
	SubjectMode     = "mode"
	SubjectTemporal = "Temporal"
	SubjectGateway  = "gateway"
	SubjectOld      = "old control plane"
)

// partTimeout bounds how long one part is looked at.
const partTimeout = 15 * time.Second

// Options says what to look at.
type Options struct {
	// Store is the database, or StoreError what kept it from being opened.
	Store      *inventory.Store
	StoreError error
	// Temporal is the connection to it, or TemporalError what kept it from being made.
	Temporal             client.Client
	TemporalError        error
	Namespace, TaskQueue string
	// IsWorker is set by a worker, which does not miss itself on the task queue.
	IsWorker bool
	// Flightctl is the live Flight Control; nil is a roll call that stands alone.
	Flightctl *flightctl.Client
	// FlightctlError is what is wrong with its configuration.
	FlightctlError error
	// FlightctlRoles are the database roles of Flight Control's servers, and FlightctlAddresses their addresses; no
	// address lets any pass.
	FlightctlRoles, FlightctlAddresses []string
	// GatewayURL is where our gateway answers agents, and GatewayCA the PEM file of the authority that its certificate
	// must come from; empty is the system's.
	GatewayURL, GatewayCA string
	// OldURL is where the lost control plane answered.
	OldURL string
}

// DefaultFlightctlRoles are the roles that Flight Control's shipped deployments connect as.
func DefaultFlightctlRoles() []string { return []string{"flightctl_app", "flightctl_migrator"} }

// Report is what was found.
type Report struct {
	Mode     runbook.Mode        `json:"mode"`
	Findings []flightctl.Finding `json:"findings"`
}

// Failed reports whether a roll call would stop at something.
func (r Report) Failed() bool {
	for _, f := range r.Findings {
		if f.Level == flightctl.Failed {
			return true
		}
	}
	return false
}

// Run looks at everything. It changes nothing.
func Run(ctx context.Context, o Options) Report {
	r := Report{Mode: runbook.ModeStandalone}
	if o.beside() {
		r.Mode = runbook.ModeFlightctl
	}
	for _, part := range []func(context.Context, Options) []flightctl.Finding{
		database, mode, temporal, flightControl, gateway, old,
	} {
		limited, cancel := context.WithTimeout(ctx, partTimeout)
		r.Findings = append(r.Findings, part(limited, o)...)
		cancel()
	}
	return r
}

func (o Options) beside() bool { return o.Flightctl != nil || o.FlightctlError != nil }

// Log writes a report as a process does that begins.
func (r Report) Log(log *slog.Logger) {
	for _, f := range r.Findings {
		level := slog.LevelInfo
		switch f.Level {
		case flightctl.Warning:
			level = slog.LevelWarn
		case flightctl.Failed:
			level = slog.LevelError
		}
		log.LogAttrs(context.Background(), level, f.Text,
			slog.String("check", f.Subject), slog.String("advice", f.Advice), slog.String("version", f.Version),
			slog.String("mode", string(r.Mode)))
	}
}

func ok(subject, text, version string) flightctl.Finding {
	return flightctl.Finding{Subject: subject, Level: flightctl.OK, Text: text, Version: version}
}

func warning(subject, text, advice string) flightctl.Finding {
	return flightctl.Finding{Subject: subject, Level: flightctl.Warning, Text: text, Advice: advice}
}

func failed(subject, text, advice string) flightctl.Finding {
	return flightctl.Finding{Subject: subject, Level: flightctl.Failed, Text: text, Advice: advice}
}

func flightControl(ctx context.Context, o Options) []flightctl.Finding {
	switch {
	case o.FlightctlError != nil:
		return []flightctl.Finding{
			failed(flightctl.SubjectAPI, o.FlightctlError.Error(), "correct the variables ROLLCALL_FLIGHTCTL_…"),
		}
	case o.Flightctl == nil:
		return nil
	}
	return o.Flightctl.Check(ctx, o.organizations(ctx)...)
}
