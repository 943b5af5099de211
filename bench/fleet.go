package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"rollcall/simulator"
)

// fleetOptions say which agents a process of them is.
type fleetOptions struct {
	gateway, dir, prefix string
	// from is the number of the first device, and to that past the last one.
	from, to int
	// every is that only the device whose number is a multiple of it has an agent: the numbers count these.
	every      int
	comeWithin time.Duration
	// plain is agents reduced to their reports (reporters).
	plain bool
}

// newFleetCommand is the agents of one gateway, in a process of their own. They come back when they are asked to.
func newFleetCommand() *cobra.Command {
	var o fleetOptions
	cmd := &cobra.Command{
		Use: "fleet", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(untilLeft(cmd.Context())) },
	}
	cmd.Flags().StringVar(&o.gateway, "gateway", "", "address of the gateway")
	cmd.Flags().StringVar(&o.dir, "dir", "", "directory of the authority")
	cmd.Flags().StringVar(&o.prefix, "prefix", "", "what the devices' names begin with")
	cmd.Flags().IntVar(&o.from, "from", 0, "number of the first device")
	cmd.Flags().IntVar(&o.to, "to", 0, "number past that of the last device")
	cmd.Flags().IntVar(&o.every, "every", 1, "every how many devices have an agent")
	cmd.Flags().DurationVar(&o.comeWithin, "come-within", 0, "time over which the first connections are spread")
	cmd.Flags().BoolVar(&o.plain, "plain", false, "agents without TLS that end when they are answered")
	return cmd
}

func (o fleetOptions) args() []string {
	return []string{
		"fleet", "--gateway", o.gateway, "--dir", o.dir, "--prefix", o.prefix,
		"--from", fmt.Sprint(o.from), "--to", fmt.Sprint(o.to), "--every", fmt.Sprint(o.every),
		"--come-within", o.comeWithin.String(), "--plain=" + strconv.FormatBool(o.plain),
	}
}

// agents are those of one process; a simulator.Fleet is some.
type agents interface {
	Run(context.Context) simulator.Summary
	Summary() simulator.Summary
}

func (o fleetOptions) newAgents(ctx context.Context) (agents, error) {
	if o.plain {
		return newReporters(o), nil
	}
	ca, err := openAuthority(o.dir)
	if err != nil {
		return nil, err
	}
	cfg := simulator.Config{
		Gateway: o.gateway, CA: ca, Seed: 1, Dial: fromManyAddresses(), Timing: simulator.BriskTiming(),
		Scenario: simulator.Scenario{Fleet: &simulator.Fates{}, BackWithinSeconds: o.comeWithin.Seconds()},
	}
	for i := o.from; i < o.to; i++ {
		cfg.Devices = append(cfg.Devices, simulator.Device{Name: deviceName(o.prefix, i*o.every), Restored: restoredVersion})
	}
	return simulator.New(ctx, cfg)
}

// run answers a GET with the summary of the agents, and a POST by letting them come back.
func (o fleetOptions) run(ctx context.Context) error {
	fleet, err := o.newAgents(ctx)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serve the summary: %w", err)
	}
	defer listener.Close()
	asked := make(chan struct{})
	var ask sync.Once
	server := &http.Server{
		ReadHeaderTimeout: time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				ask.Do(func() { close(asked) })
			}
			_ = json.NewEncoder(w).Encode(fleet.Summary()) // whoever asked has gone
		}),
	}
	go server.Serve(listener) //nolint:errcheck // ends with the process
	if err := sayReady(listener.Addr()); err != nil {
		return err
	}
	select {
	case <-asked:
		fleet.Run(ctx)
	case <-ctx.Done():
	}
	return nil
}
