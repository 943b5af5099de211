package devstack

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"

	"rollcall/flightctl"
	"rollcall/flightctl/fake"
	"rollcall/internal/devenv"
)

const flightctlLogFile = "flightctl.log"

// startFlightctl runs a fake Flight Control until stop, which answers the agents in place of the gateway. The worker
// works beside it.
func (s *stack) startFlightctl(context.Context) error {
	if !s.cfg.FlightctlFake {
		return nil
	}
	cfg, err := s.flightctlConfig()
	if err != nil {
		return fmt.Errorf("start the fake Flight Control: %w", err)
	}
	s.flightctl, err = fake.Start(cfg)
	if err != nil && s.cfg.GatewayPort != 0 {
		cfg.ListenAgents = "" // the wanted port is taken
		s.flightctl, err = fake.Start(cfg)
	}
	if err != nil {
		return err
	}
	s.onStop(s.flightctl.Close)
	if s.beside, err = flightctl.Open(s.flightctl.Client()); err != nil {
		return fmt.Errorf("connect to the fake Flight Control: %w", err)
	}
	s.onStop(s.beside.Close)
	return nil
}

func (s *stack) flightctlConfig() (fake.Config, error) {
	ca, err := s.authority()
	if err != nil {
		return fake.Config{}, err
	}
	log, err := s.openLog(flightctlLogFile)
	if err != nil {
		return fake.Config{}, err
	}
	return fake.Config{
		DatabaseURL: s.postgres.URL(), CA: ca, Logger: slog.New(slog.NewTextHandler(log, nil)),
		ListenAgents: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.cfg.GatewayPort)),
		// A fleet's agents have addresses of their own. Here all have one, and would meet the limit of an address.
		AgentRequestsPerMinute: -1,
	}, nil
}

// flightctlVars are the variables by which commands such as `starter check` find the fake Flight Control.
func (s *stack) flightctlVars() []devenv.Var {
	if s.flightctl == nil {
		return nil
	}
	values := s.flightctl.Variables(s.caCert())
	var vars []devenv.Var
	for _, name := range slices.Sorted(maps.Keys(values)) {
		vars = append(vars, devenv.Var{Name: name, Value: values[name]})
	}
	return vars
}
