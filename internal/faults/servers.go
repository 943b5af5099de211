package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.temporal.io/sdk/client"

	"rollcall/internal/devenv"
	"rollcall/inventory"
	"rollcall/runbook"
)

// Given are servers that run already, with a database and a namespace that nothing else uses.
type Given struct {
	// Database is the URL of the database, and Temporal the address of the server.
	Database, Temporal, Namespace string
}

// servers are a private PostgreSQL and a private Temporal, on files that survive a kill, each behind a proxy that can
// spoil its connections.
type servers struct {
	dir       string
	given     *Given
	namespace string

	mu  sync.Mutex
	now running // read by current: a disaster starts another one while programs are started for it

	postgresPort, temporalPort int
	toPostgres, toTemporal     *toxiproxy.Proxy
	// disks are those that can be filled, by the name of the server's folder.
	disks map[string]*disk
}

// running are the servers that run.
type running struct {
	postgres *devenv.Postgres
	temporal *devenv.Temporal
}

func (s *servers) current() running {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// The folders of the servers' files.
const (
	postgresDir = "postgres"
	temporalDir = "temporal"
)

// addDisks gives each server a disk that can be filled, where this process may mount one.
func (s *servers) addDisks(leaveOut func(error)) {
	s.disks = map[string]*disk{}
	for _, name := range []string{postgresDir, temporalDir} {
		d, err := newDisk(filepath.Join(s.dir, name))
		if err != nil {
			leaveOut(fmt.Errorf("the disk of %s is not filled: %w", name, err))
			continue
		}
		s.disks[name] = d
	}
}

func (r *run) startServers(ctx context.Context) (*servers, error) {
	dir, given := r.dir, r.options.Given
	if given != nil {
		return &servers{dir: dir, given: given, namespace: given.Namespace}, nil
	}
	s := &servers{dir: dir, namespace: client.DefaultNamespace}
	if r.options.Disasters {
		s.addDisks(r.leaveOut)
	}
	err := errors.Join(s.startPostgres(ctx), s.startTemporal(ctx))
	if err == nil {
		err = s.startProxies()
	}
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *servers) startPostgres(ctx context.Context) error {
	started, err := devenv.StartPostgres(ctx, devenv.PostgresConfig{
		Dir: filepath.Join(s.dir, postgresDir), Port: s.postgresPort, Durable: true,
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.postgres = started
	return keepPort(&s.postgresPort, hostOf(started.URL()))
}

func (s *servers) startTemporal(ctx context.Context) error {
	started, err := devenv.StartTemporal(ctx, devenv.TemporalConfig{
		Dir: filepath.Join(s.dir, temporalDir), Port: s.temporalPort, UIPort: devenv.NoUI,
		SearchAttributes: runbook.SearchAttributes,
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.temporal = started
	return keepPort(&s.temporalPort, started.Address())
}

// keepPort notes the port of an address, and fails where it is another than before.
func keepPort(port *int, address string) error {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	now, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	if *port != 0 && *port != now {
		return fmt.Errorf("port %d is taken: the server came back on port %d", *port, now)
	}
	*port = now
	return nil
}

func hostOf(database string) string {
	u, err := url.Parse(database)
	if err != nil {
		return ""
	}
	return u.Host
}

func (s *servers) startProxies() error {
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	s.toPostgres = toxiproxy.NewProxy(api, "postgres", "127.0.0.1:0", hostOf(s.database()))
	s.toTemporal = toxiproxy.NewProxy(api, "temporal", "127.0.0.1:0", s.address())
	return errors.Join(s.toPostgres.Start(), s.toTemporal.Start())
}

// database is the URL of the database, and address that of Temporal, past the proxies.
func (s *servers) database() string {
	if s.given != nil {
		return s.given.Database
	}
	return s.current().postgres.URL()
}

func (s *servers) address() string {
	if s.given != nil {
		return s.given.Temporal
	}
	return s.current().temporal.Address()
}

// temporalAddress leads through the proxy.
func (s *servers) temporalAddress() string {
	if s.toTemporal != nil {
		return s.toTemporal.Listen
	}
	return s.address()
}

// databaseURL leads through the proxy, with the rights of a role.
func (s *servers) databaseURL(role string) string {
	u, err := url.Parse(s.database())
	if err != nil {
		return ""
	}
	if s.toPostgres != nil {
		u.Host = s.toPostgres.Listen
	}
	as, err := inventory.RoleURL(u.String(), role)
	if err != nil {
		return ""
	}
	return as
}

// restartPostgres ends PostgreSQL as a crash does, and starts it again. restartTemporal kills Temporal.
func (s *servers) restartPostgres(ctx context.Context) error { return s.betweenPostgres(ctx, nothing) }

func (s *servers) restartTemporal(ctx context.Context) error { return s.betweenTemporal(ctx, nothing) }

func nothing() error { return nil }

// spoil adds a toxic, in toxiproxy's JSON, to both directions of a proxy, and returns what takes it away.
func spoil(proxy *toxiproxy.Proxy, toxic string) (mend func(), err error) {
	var names []string
	mend = func() {
		for _, name := range names {
			_ = proxy.Toxics.RemoveToxic(context.Background(), name) // gone already where the proxy was reset
		}
	}
	for _, direction := range []string{"upstream", "downstream"} {
		text := strings.Replace(toxic, "{", fmt.Sprintf(`{"stream": %q, `, direction), 1)
		added, err := proxy.Toxics.AddToxicJson(strings.NewReader(text))
		if err != nil {
			mend()
			return nil, fmt.Errorf("spoil connections to %s: %w", proxy.Name, err)
		}
		names = append(names, added.Name)
	}
	return mend, nil
}

func (s *servers) stop() error {
	var errs []error
	for _, proxy := range []*toxiproxy.Proxy{s.toPostgres, s.toTemporal} {
		if proxy != nil {
			proxy.Stop()
		}
	}
	now := s.current()
	if now.temporal != nil {
		_ = syscall.Kill(now.temporal.PID(), syscall.SIGKILL) // its files are thrown away; it may have ended
		<-now.temporal.Done()
	}
	if now.postgres != nil {
		errs = append(errs, now.postgres.Stop())
		if dir := now.postgres.Dir(); !strings.HasPrefix(dir, s.dir) { // root's PostgreSQL has its files elsewhere
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	for _, d := range s.disks {
		errs = append(errs, d.close())
	}
	return errors.Join(errs...)
}
