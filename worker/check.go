package main

import (
	"context"
	"log/slog"
	"os"

	"rollcall/flightctl"
	"rollcall/internal/preflight"
	"rollcall/internal/program"
)

// check logs what `starter check` would report. A worker that is stopped meanwhile has nothing to say.
func (o *options) check(ctx context.Context, log *slog.Logger, c *program.Connections, namespace string,
	beside *flightctl.Client,
) {
	report := preflight.Run(ctx, preflight.Options{
		Store: c.Store, Temporal: c.Temporal, Namespace: namespace, TaskQueue: o.taskQueue, IsWorker: true,
		Flightctl: beside, FlightctlRoles: preflight.DefaultFlightctlRoles(),
		GatewayURL: os.Getenv("ROLLCALL_GATEWAY_URL"), GatewayCA: os.Getenv("ROLLCALL_CA_CERT"),
	})
	if ctx.Err() == nil {
		report.Log(log)
	}
}
