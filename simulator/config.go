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

	"rollcall/authority"
)

// Device is a device that the service knows, as the simulator needs it.
type Device struct {
	Name string
	// Restored is the rendered version that the service believes in; one that cannot be read counts as none.
	Restored string
	// Status is the device's last one, a JSON object: what an agent does not say anew it repeats. It may be nil.
	Status json.RawMessage
}

// Config is what a Fleet needs. Durations of 0 are the defaults.
type Config struct {
	// Gateway is where agents are served, as https://host:port.
	Gateway string
	// CA signs the agents' certificates, and is trusted for the gateway's; Roots is trusted in its place where it is not nil.
	CA    *authority.CA
	Roots *x509.CertPool
	// Devices are those that the service knows, in any order.
	Devices []Device
	// Extra is how many agents beside them enroll, on top of the scenario's Unknown.
	Extra    int
	Scenario Scenario
	Seed     uint64
	// Pace stretches the scenario's times; 0 leaves them as they are, as 1 does.
	Pace float64
	// StatusEvery is how often an agent reports its status where nothing has changed, between two polls: 1 minute.
	StatusEvery time.Duration
	// Logger gets what agents decide, on the level Debug. Nil is nobody.
	Logger *slog.Logger
	// Progress is called every ProgressEvery (1 second) while the fleet runs. Nil is nobody.
	Progress      func(Summary)
	ProgressEvery time.Duration
	// Dial connects to the gateway in place of the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

const (
	// pollLimit is when an agent gives up a poll by itself.
	pollLimit = 4 * time.Minute
	// pollGap is how far apart the beginnings of two polls are at least, so that an answer which comes at once makes no busy
	// loop.
	pollGap = time.Second
	// callLimit bounds every other request.
	callLimit = 30 * time.Second
	// enrollEvery is how often an agent asks whether it was let in.
	enrollEvery = 2 * time.Second
	// firstRetry and lastRetry are what the wait after a failure grows from and to, where the service does not say.
	firstRetry = time.Second
	lastRetry  = time.Minute
	// certificateLifetime is that of the certificates that agents begin with.
	certificateLifetime = 30 * 24 * time.Hour
)

func (c Config) withDefaults() Config {
	c.Pace = cmp.Or(c.Pace, 1)
	c.StatusEvery = cmp.Or(c.StatusEvery, time.Minute)
	c.ProgressEvery = cmp.Or(c.ProgressEvery, time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: callLimit}).DialContext
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
	if min(c.StatusEvery, c.ProgressEvery) < 0 || c.Pace < 0 || c.Extra < 0 {
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
