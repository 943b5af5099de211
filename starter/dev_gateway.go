package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"rollcall/authority"
	"rollcall/gateway/agentapi"
)

// defaultGatewayPort is where agents of Flight Control look by default.
const defaultGatewayPort = 7443

// gatewayLifetime is that of the gateway's own certificate, which is made anew at each start.
const gatewayLifetime = 365 * 24 * time.Hour

func (s *devStack) caCert() string { return filepath.Join(s.cfg.Dir, "ca", "ca.crt") }
func (s *devStack) caKey() string  { return filepath.Join(s.cfg.Dir, "ca", "ca.key") }

// gatewayURL is where agents find the gateway; empty where none runs.
func (s *devStack) gatewayURL() string {
	if s.gateway == nil {
		return ""
	}
	return "https://" + s.gateway.Address()
}

// startGateway serves agents until stop, with an authority of its own.
func (s *devStack) startGateway(ctx context.Context) error {
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

func (s *devStack) gatewayConfig() (agentapi.Config, error) {
	if err := os.MkdirAll(filepath.Dir(s.caKey()), 0o700); err != nil {
		return agentapi.Config{}, fmt.Errorf("create directory for the certificate authority: %w", err)
	}
	ca, err := authority.LoadOrMake(s.caCert(), s.caKey())
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
		Store: s.store, Temporal: s.client, Starter: s.client, TaskQueue: s.queue, Logger: s.workerLog,
		Certificate: &certificate, ClientCAs: ca.Pool(), CA: ca, Render: true,
		Listen: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.cfg.GatewayPort)),
	}, nil
}
