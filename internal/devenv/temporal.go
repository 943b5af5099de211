package devenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"go.temporal.io/sdk/client"
)

// DefaultPort and DefaultUIPort are where `temporal server start-dev` listens unless told otherwise.
const (
	DefaultPort   = 7233
	DefaultUIPort = 8233
)

// NoUI as a UIPort leaves the web UI out.
const NoUI = -1

// TemporalConfig says where and how a Temporal development server runs.
type TemporalConfig struct {
	// Dir holds its database, created at the first start. Empty is in memory, gone with the server.
	Dir string
	// Port and UIPort are the preferred TCP ports on 127.0.0.1; where one is taken, or 0, a free one is found. A UIPort of
	// NoUI is no web UI.
	Port, UIPort int
	// Namespace is created if need be; empty is "default".
	Namespace string
	// SearchAttributes are names to register with type Keyword.
	SearchAttributes []string
	// Log gets warnings of the server; nil is the file "log" in Dir, or where Dir is empty nowhere.
	Log io.Writer
	// Dynamic are settings of its dynamic configuration, each as key=value with JSON as the value.
	Dynamic []string
	// Binary is the `temporal` command; empty is FindTemporal's.
	Binary string
}

// Temporal is a running development server.
type Temporal struct {
	cfg      TemporalConfig
	settings []string
	lock     *os.File
	log      *serverLog
	port     int
	uiPort   int
	server   *child
}

// temporalStopLimit: it ends within a second or two, and on a busy machine in ten; its database survives being killed.
const temporalStopLimit = 30 * time.Second

// StartTemporal starts a development server and returns when it serves the namespace with its search attributes. ctx
// ends the attempt to start; a server that runs is ended by Stop, or by our own end. A server in the same directory
// that is still ending is waited for.
func StartTemporal(ctx context.Context, cfg TemporalConfig) (*Temporal, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	t := &Temporal{cfg: cfg}
	if err := t.prepare(ctx); err != nil {
		return nil, fmt.Errorf("start Temporal: %w", err)
	}
	// The server inherits both.
	defer t.lock.Close()
	defer t.log.close()
	var err error
	if t.settings, err = settings(t.cfg); err != nil {
		return nil, fmt.Errorf("start Temporal: %w", err)
	}
	if err := t.run(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Temporal) prepare(ctx context.Context) error {
	var err error
	if t.cfg.Binary == "" {
		if t.cfg.Binary, err = FindTemporal(); err != nil {
			return err
		}
	}
	if t.cfg.Namespace == "" {
		t.cfg.Namespace = client.DefaultNamespace
	}
	if t.cfg.Dir == "" {
		return t.prepareInMemory()
	}
	if t.cfg.Dir, err = filepath.Abs(t.cfg.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(t.cfg.Dir, 0o700); err != nil {
		return err
	}
	t.lock, t.log, err = claim(ctx, t.cfg.Dir, t.cfg.Log)
	return err
}

func (t *Temporal) prepareInMemory() (err error) {
	if t.lock, err = os.Open(os.DevNull); err != nil {
		return err
	}
	if t.cfg.Log == nil {
		t.cfg.Log = io.Discard
	}
	t.log, err = openLog(t.cfg.Log, "")
	return err
}

func (t *Temporal) run(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		ports, err := freePorts(t.cfg.Port, max(t.cfg.UIPort, 0))
		if err != nil {
			return err
		}
		t.port, t.uiPort = ports[0], ports[1]
		t.server, err = start(t.program())
		if err != nil {
			return err
		}
		err = t.waitUntilServing(ctx)
		if err == nil {
			return nil
		}
		again := ctx.Err() == nil && (!portIsFree(t.port) || !portIsFree(t.uiPort) || t.panicked())
		if stopErr := t.Stop(); stopErr != nil {
			return errors.Join(err, stopErr)
		}
		if !again || attempt == startAttempts {
			return err
		}
	}
}

// panicked reports whether the server has ended with a panic. It finds ports for its services itself, and panics where
// another process takes one of them before it listens.
func (t *Temporal) panicked() bool { return t.server.hasEnded() && t.log.panicked() }

// Address is host:port of the server's gRPC service.
func (t *Temporal) Address() string { return hostPort(t.port) }

// Namespace is the namespace that was created.
func (t *Temporal) Namespace() string { return t.cfg.Namespace }

// UIURL is the address of the web UI, or empty without one.
func (t *Temporal) UIURL() string {
	if t.cfg.UIPort == NoUI {
		return ""
	}
	return "http://" + hostPort(t.uiPort)
}

// PID is the server's process id.
func (t *Temporal) PID() int { return t.server.cmd.Process.Pid }

// Done is closed when the server has ended, whoever ended it.
func (t *Temporal) Done() <-chan struct{} { return t.server.done }

// Stop ends the server. It may be called again.
func (t *Temporal) Stop() error { return t.server.stop(temporalStopLimit) }

func (t *Temporal) program() program {
	args := []string{
		"server", "start-dev", "--ip", loopback, "--port", strconv.Itoa(t.port), "--log-level", "warn",
		// The operator's own profiles are for the servers that they operate.
		"--disable-config-env", "--disable-config-file",
	}
	if t.cfg.UIPort == NoUI {
		args = append(args, "--headless")
	} else {
		args = append(args, "--ui-port", strconv.Itoa(t.uiPort))
	}
	if t.cfg.Namespace != client.DefaultNamespace {
		args = append(args, "--namespace", t.cfg.Namespace)
	}
	if t.cfg.Dir != "" {
		// A write-ahead log survives SIGKILL, and makes each write one append in place of several syncs.
		args = append(args, "--db-filename", filepath.Join(t.cfg.Dir, temporalDB),
			"--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL")
	}
	for _, name := range t.cfg.SearchAttributes {
		args = append(args, "--search-attribute", name+"=Keyword")
	}
	for _, setting := range slices.Concat(t.settings, t.cfg.Dynamic) {
		args = append(args, "--dynamic-config-value", setting)
	}
	end := sigTerminate
	if t.cfg.Dir == "" {
		end = sigKill // nothing to save
	}
	return program{
		name: "Temporal", path: t.cfg.Binary, args: args,
		end: end, lock: t.lock, log: t.log, ignore: "TEMPORAL_",
	}
}
