package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"rollcall/inventory/roles"
)

// disaster is a loss after which the record of calls reads differently.
type disaster struct {
	what   string
	strike func(context.Context) error
}

// disasters are struck in this order, between the other faults.
func (r *run) disasters() []disaster {
	return []disaster{
		{"PostgreSQL is saved", r.save},
		{"Temporal loses its database", r.loseTemporal},
		{"PostgreSQL is put back to when it was saved", r.putBack},
		{"the disk of PostgreSQL is full", func(ctx context.Context) error { return r.fillDisk(ctx, postgresDir) }},
		{"the disk of Temporal is full", func(ctx context.Context) error { return r.fillDisk(ctx, temporalDir) }},
	}
}

const savedDir = "saved"

// harness is who struck.
const harness = "harness"

// save keeps a copy of PostgreSQL's files.
func (r *run) save(ctx context.Context) error {
	data := filepath.Join(r.servers.postgres.Dir(), "data")
	return r.recordForAll(Save, "PostgreSQL saved", func() error {
		return r.servers.betweenPostgres(ctx, func() error {
			return command(ctx, "cp", "-a", data, filepath.Join(r.dir, savedDir))
		})
	})
}

// putBack puts the copy in the place of PostgreSQL's files.
func (r *run) putBack(ctx context.Context) error {
	data := filepath.Join(r.servers.postgres.Dir(), "data")
	return r.recordForAll(PutBack, "PostgreSQL put back", func() error {
		return r.servers.betweenPostgres(ctx, func() error {
			if err := os.RemoveAll(data); err != nil {
				return fmt.Errorf("remove PostgreSQL's files: %w", err)
			}
			return command(ctx, "cp", "-a", filepath.Join(r.dir, savedDir), data)
		})
	})
}

// loseTemporal removes Temporal's files. An operator then has what is missing started again.
func (r *run) loseTemporal(ctx context.Context) error {
	err := r.recordForAll(Forget, "Temporal's database deleted", func() error {
		return r.servers.betweenTemporal(ctx, func() error {
			files, err := filepath.Glob(filepath.Join(r.dir, temporalDir, "*.db*"))
			if err == nil && len(files) == 0 {
				err = errors.New("no database file of the Temporal server")
			}
			for _, file := range files {
				err = errors.Join(err, os.Remove(file))
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		said, err := r.starter(ctx, "fsck", "--repair", "--settle", "0")
		r.say("starter fsck --repair: %v: %.200s", err, said)
		var exit *exec.ExitError
		if err == nil || errors.As(err, &exit) && exit.ExitCode() == exitViolations {
			return nil // what is under way yet counts as a violation
		}
		wait(ctx, time.Second)
	}
	return ctx.Err()
}

// exitViolations is the exit code of fsck where something is wrong still.
const exitViolations = 5

func (r *run) starter(ctx context.Context, args ...string) (said string, err error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, r.program("starter"), args...)
	cmd.Env = append(os.Environ(), r.env(roles.Operator)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.dir, &out, &out
	err = cmd.Run()
	return out.String(), err
}

func command(ctx context.Context, name string, args ...string) error {
	if said, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, said)
	}
	return nil
}

// recordForAll records what happens to all devices at a time, and counts it.
func (r *run) recordForAll(kind Kind, what string, do func() error) error {
	start := time.Now()
	if err := do(); err != nil {
		return err
	}
	end := time.Now()
	r.broke(what)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.orgs {
		for n := range r.options.Devices {
			r.result.Calls = append(r.result.Calls, Call{
				OrgID: o.id, Device: deviceName(n), Kind: kind, Via: harness, Start: start, End: end, Answer: Accepted,
			})
		}
	}
	return nil
}

// fillLength is how long a disk is full.
const fillLength = 3 * time.Second

// fillDisk leaves no room on the disk of a server for a while. PostgreSQL may end then, and is started again.
func (r *run) fillDisk(ctx context.Context, dir string) error {
	d := r.servers.disks[dir]
	if d == nil {
		return nil // addDisks has said why
	}
	if err := d.fill(); err != nil {
		return err
	}
	if err := d.full(); err != nil {
		return errors.Join(err, d.empty())
	}
	r.broke("disk of " + dir + " filled")
	wait(ctx, fillLength)
	if err := d.empty(); err != nil {
		return err
	}
	return r.servers.revive(ctx)
}

// revive starts the servers again that a full disk has ended, or that have not recovered from it.
func (s *servers) revive(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	if err := s.temporal.Works(limited); err != nil {
		return errors.Join(s.restartTemporal(ctx), s.restartPostgres(ctx))
	}
	select {
	case <-s.postgres.Done():
		return s.startPostgres(ctx)
	case <-time.After(fillLength): // it may be on its way to its end until then
		return nil
	}
}

// betweenPostgres ends PostgreSQL as a crash does, and starts it again after do.
func (s *servers) betweenPostgres(ctx context.Context, do func() error) error {
	s.mu.Lock()
	server := s.postgres
	s.mu.Unlock()
	// SIGQUIT ends all its processes at once, and the next start recovers. After a SIGKILL they would linger.
	if err := end(server, syscall.SIGQUIT); err != nil {
		return fmt.Errorf("end PostgreSQL: %w", err)
	}
	return errors.Join(do(), s.startPostgres(ctx))
}

// betweenTemporal kills Temporal, and starts it again after do.
func (s *servers) betweenTemporal(ctx context.Context, do func() error) error {
	s.mu.Lock()
	server := s.temporal
	s.mu.Unlock()
	if err := end(server, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill Temporal: %w", err)
	}
	return errors.Join(do(), s.startTemporal(ctx))
}

// end sends a server's process a signal that ends it, and waits until it has ended.
func end(
	server interface {
		PID() int
		Done() <-chan struct{}
	}, signal syscall.Signal,
) error {
	if err := syscall.Kill(server.PID(), signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	<-server.Done()
	return nil
}
