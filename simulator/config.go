package simulator

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"rollcall/internal/authority"
)

// Device is a device that the service knows, as the simulator needs it.
type Device struct {
	Name string
	// Restored is the rendered version that the service believes in; one that cannot be read counts as none.
	Restored string
	// Status is the device's last one, a JSON object: what an agent does not say again it repeats. It may be nil.
	Status json.RawMessage
}

// Config is what a Fleet needs. Durations of 0 are the defaults.
type Config struct {
	// Gateway is where agents are served, as https://host:port.
	Gateway string
	// CA signs the agents' certificates, and is trusted for the gateway's; Roots is trusted in its place where it is not
	// nil.
	CA    *authority.CA
	Roots *x509.CertPool
	// Organisation is the UUID of the one whose devices they are; empty is the default one.
	Organisation string
	// Devices are those that the service knows, in any order.
	Devices []Device
	// Extra is how many agents beside them enroll, on top of the scenario's Unknown.
	Extra    int
	Scenario Scenario
	Seed     uint64
	// Pace stretches the scenario's times; 0 leaves them as they are, as 1 does.
	Pace float64
	// Timing is how long agents wait of themselves; its zero value is AgentTiming.
	Timing Timing
	// CertificateLifetime is that of the certificates that agents begin with: 30 days.
	CertificateLifetime time.Duration
	// Logger gets what agents decide, on the level Debug. Nil is no one.
	Logger *slog.Logger
	// Progress is called every ProgressEvery (1 second) while the fleet runs. Nil is no one.
	Progress      func(Summary)
	ProgressEvery time.Duration
	// Dial connects to the gateway in place of the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

const (
	// callLimit bounds every request but polls.
	callLimit = time.Minute
	// dialLimit bounds how long a connection takes to come about.
	dialLimit = 30 * time.Second
	// firstApply and lastApply are what the wait grows from and to after which an agent tries again to apply a version.
	firstApply = time.Second
	lastApply  = time.Minute
)

func (c Config) withDefaults() Config {
	c.Pace = cmp.Or(c.Pace, 1)
	c.Timing = c.Timing.withDefaults()
	c.CertificateLifetime = cmp.Or(c.CertificateLifetime, 30*24*time.Hour)
	c.ProgressEvery = cmp.Or(c.ProgressEvery, time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: dialLimit}).DialContext
	}
	if c.Roots == nil && c.CA != nil {
		c.Roots = c.CA.Pool()
	}
	return c
}

// check joins everything that is wrong.
func (c Config) check() error {
	var errs []error
	if _, err := CheckGateway(c.Gateway); err != nil {
		errs = append(errs, err)
	}
	if c.CA == nil {
		errs = append(errs, errors.New("no certificate authority is given"))
	}
	if min(c.Timing.shortest(), c.ProgressEvery, c.CertificateLifetime) < 0 || c.Pace < 0 || c.Extra < 0 {
		errs = append(errs, errors.New("a duration or a number is below zero"))
	}
	return errors.Join(append(errs, c.Scenario.Check())...)
}

// CheckGateway reads the address of a gateway: https, a host, and nothing behind it.
func CheckGateway(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("the gateway's address cannot be read: %w", err)
	}
	if u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("%q is not the address of a gateway: write it as https://host:port", address)
	}
	u.Path = ""
	return u, nil
}
