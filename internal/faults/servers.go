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

	"rollcall/internal/devenv"
	"rollcall/runbook"
)

// servers are a private PostgreSQL and a private Temporal, on files that survive a kill, each behind a proxy that can
// spoil its connections.
type servers struct {
	dir string

	mu       sync.Mutex // of those that run now
	postgres *devenv.Postgres
	temporal *devenv.Temporal

	postgresPort, temporalPort int
	toPostgres, toTemporal     *toxiproxy.Proxy
}

func startServers(ctx context.Context, dir string) (*servers, error) {
	s := &servers{dir: dir}
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
		Dir: filepath.Join(s.dir, "postgres"), Port: s.postgresPort, Durable: true,
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.postgres = started
	return keepPort(&s.postgresPort, hostOf(started.URL()))
}

func (s *servers) startTemporal(ctx context.Context) error {
	started, err := devenv.StartTemporal(ctx, devenv.TemporalConfig{
		Dir: filepath.Join(s.dir, "temporal"), Port: s.temporalPort, UIPort: devenv.NoUI,
		SearchAttributes: runbook.SearchAttributes,
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.temporal = started
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
	s.toPostgres = toxiproxy.NewProxy(api, "postgres", "127.0.0.1:0", hostOf(s.postgres.URL()))
	s.toTemporal = toxiproxy.NewProxy(api, "temporal", "127.0.0.1:0", s.temporal.Address())
	return errors.Join(s.toPostgres.Start(), s.toTemporal.Start())
}

// databaseURL leads through the proxy, with the rights of a role.
func (s *servers) databaseURL(role string) string {
	u, err := url.Parse(s.postgres.URL())
	if err != nil {
		return ""
	}
	u.Host = s.toPostgres.Listen
	query := u.Query()
	query.Set("role", role)
	u.RawQuery = query.Encode()
	return u.String()
}

// restartPostgres ends PostgreSQL as a crash does, and starts it again.
func (s *servers) restartPostgres(ctx context.Context) error {
	s.mu.Lock()
	server := s.postgres
	s.mu.Unlock()
	// SIGQUIT ends all its processes at once, and the next start recovers. After a SIGKILL they would linger.
	if err := syscall.Kill(server.PID(), syscall.SIGQUIT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end PostgreSQL: %w", err)
	}
	<-server.Done()
	return s.startPostgres(ctx)
}

// restartTemporal kills Temporal, and starts it again.
func (s *servers) restartTemporal(ctx context.Context) error {
	s.mu.Lock()
	server := s.temporal
	s.mu.Unlock()
	if err := syscall.Kill(server.PID(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill Temporal: %w", err)
	}
	<-server.Done()
	return s.startTemporal(ctx)
}

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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.temporal != nil {
		_ = syscall.Kill(s.temporal.PID(), syscall.SIGKILL) // its files are thrown away; it may have ended
		<-s.temporal.Done()
	}
	if s.postgres != nil {
		errs = append(errs, s.postgres.Stop())
		if dir := s.postgres.Dir(); !strings.HasPrefix(dir, s.dir) { // root's PostgreSQL has its files elsewhere
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}
