package devstack

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"rollcall/gateway/agentapi"
	"rollcall/internal/authority"
)

// DefaultGatewayPort is where agents of Flight Control look by default.
const DefaultGatewayPort = 7443

// gatewayLifetime is that of the gateway's own certificate, which is made again at each start.
const gatewayLifetime = 365 * 24 * time.Hour

func (s *stack) caCert() string { return filepath.Join(s.cfg.Dir, "ca", "ca.crt") }
func (s *stack) caKey() string  { return filepath.Join(s.cfg.Dir, "ca", "ca.key") }

// gatewayURL is where agents are answered: by the gateway, or by the fake Flight Control. Empty is nowhere.
func (s *stack) gatewayURL() string {
	switch {
	case s.flightctl != nil:
		return s.flightctl.AgentURL()
	case s.gateway == nil:
		return ""
	}
	return "https://" + s.gateway.Address()
}

// authority is what the certificates of the agents and of their servers come from. It is made where it is missing.
func (s *stack) authority() (*authority.CA, error) {
	if err := os.MkdirAll(filepath.Dir(s.caKey()), 0o700); err != nil {
		return nil, fmt.Errorf("create directory for the certificate authority: %w", err)
	}
	return authority.LoadOrMake(s.caCert(), s.caKey())
}

// startGateway serves agents until stop, unless the fake Flight Control does.
func (s *stack) startGateway(context.Context) error {
	if s.cfg.FlightctlFake {
		return nil
	}
	cfg, err := s.gatewayConfig()
	if err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	if s.gateway, err = agentapi.New(cfg); err != nil && s.cfg.GatewayPort != 0 {
		cfg.Listen = "127.0.0.1:0" // the wanted port is taken
		s.gateway, err = agentapi.New(cfg)
	}
	if err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	s.runUntilStop("the gateway", s.gateway.Run)
	return nil
}

func (s *stack) gatewayConfig() (agentapi.Config, error) {
	ca, err := s.authority()
	if err != nil {
		return agentapi.Config{}, err
	}
	pair, err := ca.Server([]string{"127.0.0.1", "localhost", "::1"}, gatewayLifetime)
	if err != nil {
		return agentapi.Config{}, err
	}
	certificate, err := pair.TLS()
	if err != nil {
		return agentapi.Config{}, fmt.Errorf("read the gateway's certificate: %w", err)
	}
	return agentapi.Config{
		Store: s.serving, Temporal: s.client, Starter: s.client, TaskQueue: s.queue, Logger: s.workerLog,
		Certificate: &certificate, ClientCAs: ca.Pool(), CA: ca, Render: true,
		Listen: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.cfg.GatewayPort)),
	}, nil
}
