package fake

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"

	"rollcall/flightctl"
	"rollcall/internal/authority"
)

// Config is what a fake needs. Fields that are empty have the defaults of a shipped Flight Control.
type Config struct {
	// DatabaseURL is where the tables are.
	DatabaseURL string
	// CA signs the certificates of the servers and of agents that are approved, and is trusted for those of agents.
	CA *authority.CA
	// Listen and ListenAgents are the addresses of the two APIs; any free port of this machine where they are empty.
	Listen, ListenAgents string
	// Version is the one that it says.
	Version string
	// RequestsPerMinute is the limit of an address at the user API, and AgentRequestsPerMinute that at the agents'. 0 is
	// 300, and less than 0 is none.
	RequestsPerMinute, AgentRequestsPerMinute int
	// HoldFor is how long a poll is held: 2 minutes.
	HoldFor time.Duration
	// SaveEvery is how often last_seen is written: every 15 seconds.
	SaveEvery time.Duration
	// QueueBackoff is the shortest pause between two attempts to put an event into the work queue: a second.
	QueueBackoff time.Duration
	// Now is the time of the limits, which tests control.
	Now func() time.Time
	// Logger gets what it does. Nil is no one.
	Logger *slog.Logger
}

// The shipped role names that matter here.
const (
	RoleAdmin     = "flightctl-admin"
	RoleOperator  = "flightctl-operator"
	RoleInstaller = "flightctl-installer"
)

// FlightControl runs until Close.
type FlightControl struct {
	cfg   Config
	log   *slog.Logger
	db    *sqlx.DB
	kv    *miniredis.Miniredis
	store *redis.Client
	// queue is the client of the work queue, which has retries of its own.
	queue *redis.Client

	user, agents           *http.Server
	userAddr, agentsAddr   string
	userLimit, agentsLimit *limit

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex
	token string
	name  string
	role  string
	// memberOf are the user's organisations; nil is all.
	memberOf []string
	renewals map[renewalID]*renewal

	kills map[Point]int
	does  map[Point]func(context.Context)
	// unrenderable are the devices whose spec cannot be rendered, by name.
	unrenderable map[string]renderFailure

	polls  map[string]chan notice
	seen   map[deviceID]struct{}
	paused bool
	calls  map[string]int
}

type deviceID struct{ org, name string }

// connections is how many connections to PostgreSQL the fake has at most, and keeps.
const connections = 10

const storePassword = "adversary-of-no-one"

// Start runs a Flight Control. Its tables must be there.
func Start(cfg Config) (*FlightControl, error) {
	f := newFake(cfg)
	if err := f.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start a fake Flight Control: %w", err), f.Close())
	}
	return f, nil
}

func newFake(cfg Config) *FlightControl {
	cfg.Listen = cmp.Or(cfg.Listen, "127.0.0.1:0")
	cfg.ListenAgents = cmp.Or(cfg.ListenAgents, "127.0.0.1:0")
	cfg.Version = cmp.Or(cfg.Version, "v1.4.0-fake")
	cfg.RequestsPerMinute = cmp.Or(cfg.RequestsPerMinute, 300)
	cfg.AgentRequestsPerMinute = cmp.Or(cfg.AgentRequestsPerMinute, 300)
	cfg.HoldFor = cmp.Or(cfg.HoldFor, 2*time.Minute)
	cfg.SaveEvery = cmp.Or(cfg.SaveEvery, 15*time.Second)
	cfg.QueueBackoff = cmp.Or(cfg.QueueBackoff, time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := &FlightControl{
		cfg: cfg, log: cfg.Logger, token: "token-of-admin", name: "admin", role: RoleAdmin,
		kills: map[Point]int{}, does: map[Point]func(context.Context){}, polls: map[string]chan notice{},
		unrenderable: map[string]renderFailure{},
		seen:         map[deviceID]struct{}{}, calls: map[string]int{}, renewals: map[renewalID]*renewal{},
		userLimit: newLimit(cfg.RequestsPerMinute, cfg.Now), agentsLimit: newLimit(cfg.AgentRequestsPerMinute, cfg.Now),
	}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f
}

func (f *FlightControl) start() (err error) {
	if f.db, err = sqlx.Connect("postgres", f.cfg.DatabaseURL); err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	f.db.SetMaxOpenConns(connections)
	f.db.SetMaxIdleConns(connections) // as agents poll all the time, and a new one costs a process of the server
	f.kv = miniredis.NewMiniRedis()
	f.kv.RequireAuth(storePassword)
	if err := f.kv.Start(); err != nil {
		return fmt.Errorf("start the key-value store: %w", err)
	}
	f.store = redis.NewClient(&redis.Options{
		Addr: f.kv.Addr(), Password: storePassword, Protocol: 2, DisableIdentity: true, DialerRetries: 1,
	})
	f.queue = redis.NewClient(&redis.Options{
		Addr: f.kv.Addr(), Password: storePassword, Protocol: 2, DisableIdentity: true, DialerRetries: 1,
		MaxRetries: queueRetries, MinRetryBackoff: f.cfg.QueueBackoff, MaxRetryBackoff: time.Hour,
	})
	if f.user, f.userAddr, err = f.serve(f.cfg.Listen, f.userAPI(), tls.NoClientCert); err != nil {
		return err
	}
	if f.agents, f.agentsAddr, err = f.serve(f.cfg.ListenAgents, f.agentAPI(),
		tls.RequireAndVerifyClientCert); err != nil {
		return err
	}
	subscribed := make(chan struct{})
	f.wg.Go(func() { f.listen(subscribed) })
	f.wg.Go(f.work)
	f.wg.Go(f.saveSeen)
	<-subscribed
	return nil
}

// serve answers on an address until Close.
func (f *FlightControl) serve(address string, handler http.Handler,
	auth tls.ClientAuthType,
) (*http.Server, string, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, "", err
	}
	pair, err := f.cfg.CA.Server([]string{"127.0.0.1", "localhost"}, 24*time.Hour)
	if err != nil {
		return nil, "", err
	}
	certificate, err := pair.TLS()
	if err != nil {
		return nil, "", err
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 30 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		BaseContext: func(net.Listener) context.Context { return f.ctx },
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, ClientAuth: auth,
			ClientCAs: f.cfg.CA.Pool(),
		},
	}
	f.wg.Go(func() { _ = server.ServeTLS(listener, "", "") })
	return server, listener.Addr().String(), nil
}

// Close ends it.
func (f *FlightControl) Close() error {
	f.stop()
	for _, server := range []*http.Server{f.user, f.agents} {
		if server != nil {
			_ = server.Close()
		}
	}
	f.wg.Wait()
	var errs []error
	for _, client := range []*redis.Client{f.store, f.queue} {
		if client != nil {
			errs = append(errs, client.Close())
		}
	}
	if f.kv != nil {
		f.kv.Close()
	}
	if f.db != nil {
		errs = append(errs, f.db.Close())
	}
	return errors.Join(errs...)
}

// URL is where its user API is.
func (f *FlightControl) URL() string { return "https://" + f.userAddr }

// AgentURL is where its agents' API is.
func (f *FlightControl) AgentURL() string { return "https://" + f.agentsAddr }

// Client is the configuration of a client of it.
func (f *FlightControl) Client() flightctl.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	return flightctl.Config{
		Server: f.URL(), Token: flightctl.SecretValue(f.token), CA: f.authority(),
		StoreAddress: f.kv.Addr(), StorePassword: flightctl.SecretValue(storePassword),
	}
}

// Variables are those that LoadConfig reads. caFile is a file with the authority's certificate.
func (f *FlightControl) Variables(caFile string) map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return map[string]string{
		flightctl.EnvServer: f.URL(), flightctl.EnvCAFile: caFile, flightctl.EnvToken: f.token,
		flightctl.EnvStoreAddress: f.kv.Addr(), flightctl.EnvStorePassword: storePassword,
	}
}

func (f *FlightControl) authority() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.cfg.CA.Certificate().Raw})
}
