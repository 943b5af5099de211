package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// disaster is a loss after which the record of calls reads differently.
type disaster struct {
	what   string
	strike func(context.Context) error
}

// disasters are struck in this order, between the other faults. With PutBacks the first copy is there already.
func (r *run) disasters() []disaster {
	save := disaster{"PostgreSQL is saved", r.save}
	putBack := disaster{"PostgreSQL is put back to when it was saved", r.putBack}
	all := []disaster{save, {"Temporal loses its database", r.loseTemporal}, putBack}
	if r.options.PutBacks {
		later := disaster{putBack.what, func(ctx context.Context) error {
			wait(ctx, r.options.For/9) // so that there is something to lose
			return r.putBack(ctx)
		}}
		all = []disaster{later, save, later}
	}
	return append(all,
		disaster{"the disk of PostgreSQL is full", func(ctx context.Context) error { return r.fillDisk(ctx, postgresDir) }},
		disaster{"the disk of Temporal is full", func(ctx context.Context) error { return r.fillDisk(ctx, temporalDir) }})
}

// saveEarly saves PostgreSQL while the restores put their devices on the roll. Until then processes commit slowly.
func (r *run) saveEarly(acting, whole context.Context, random *rand.Rand) error {
	err := await(whole, atRest, "the restores are open", func(ctx context.Context) (string, error) {
		var open int
		err := r.store.DB().GetContext(ctx, &open, `select count(*) from rollcall.restores`)
		if err == nil && open < len(r.orgs) {
			return "a restore is not open", nil
		}
		return "", err
	})
	if err != nil {
		return err
	}
	wait(acting, time.Duration(random.IntN(2000))*time.Millisecond)
	left, err := r.rolled(whole)
	if err != nil {
		return err
	}
	r.say("PostgreSQL is saved early: %s", cmp.Or(left, "the rolls are made"))
	if err := r.save(whole); err != nil {
		return err
	}
	if left != "" {
		r.broke("PostgreSQL saved while devices were put on the roll")
	}
	r.mu.Lock()
	r.slow = false
	r.mu.Unlock()
	for _, p := range r.processes {
		p.renew()
	}
	return nil
}

const savedDir = "saved"

// harness is who struck.
const harness = "harness"

// save keeps a copy of PostgreSQL's files.
func (r *run) save(ctx context.Context) error {
	data, saved := filepath.Join(r.servers.current().postgres.Dir(), "data"), filepath.Join(r.dir, savedDir)
	if err := os.RemoveAll(saved); err != nil {
		return fmt.Errorf("remove an older copy: %w", err)
	}
	began := time.Now()
	asked, err := r.requestsThere(ctx)
	if err != nil {
		return err
	}
	err = r.recordForAll(Save, "PostgreSQL saved", r.orgs, func() error {
		return r.servers.betweenPostgres(ctx, func() error { return command(ctx, "cp", "-a", data, saved) })
	})
	if err != nil {
		return err
	}
	return r.noteSaved(ctx, asked, began)
}

// putBack puts the copy in the place of PostgreSQL's files.
func (r *run) putBack(ctx context.Context) error {
	data := filepath.Join(r.servers.current().postgres.Dir(), "data")
	if err := r.noteRolled(ctx); err != nil {
		return err
	}
	return r.recordForAll(PutBack, "PostgreSQL put back", r.orgs, func() error {
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
	err := r.recordForAll(Forget, "Temporal's database deleted", r.orgs, func() error {
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
		said, err := r.operate(ctx, "", "fsck", "--repair", "--settle", "0")
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

func command(ctx context.Context, name string, args ...string) error {
	if said, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, said)
	}
	return nil
}

// recordForAll records what happens to all devices and requests of organisations at a time, and counts it.
func (r *run) recordForAll(kind Kind, what string, orgs []organisation, do func() error) error {
	start := time.Now()
	if err := do(); err != nil {
		return err
	}
	end := time.Now()
	r.broke(what)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range orgs {
		c := Call{OrgID: o.id, Kind: kind, Via: harness, Start: start, End: end, Answer: Accepted}
		for n := range r.options.Devices {
			c.Device = deviceName(n)
			r.result.Calls = append(r.result.Calls, c)
		}
		c.Request = true
		for _, n := range o.newcomers {
			c.Device = n.name
			r.result.Calls = append(r.result.Calls, c)
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
	if err := s.current().temporal.Works(limited); err != nil {
		return errors.Join(s.restartTemporal(ctx), s.restartPostgres(ctx))
	}
	select {
	case <-s.current().postgres.Done():
		return s.startPostgres(ctx)
	case <-time.After(fillLength): // it may be on its way to its end until then
		return nil
	}
}

// betweenPostgres ends PostgreSQL as a crash does, and starts it again after do.
func (s *servers) betweenPostgres(ctx context.Context, do func() error) error {
	// SIGQUIT ends all its processes at once, and the next start recovers. After a SIGKILL they would linger.
	if err := end(s.current().postgres, syscall.SIGQUIT); err != nil {
		return fmt.Errorf("end PostgreSQL: %w", err)
	}
	return errors.Join(do(), s.startPostgres(ctx))
}

// betweenTemporal kills Temporal, and starts it again after do.
func (s *servers) betweenTemporal(ctx context.Context, do func() error) error {
	if err := end(s.current().temporal, syscall.SIGKILL); err != nil {
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
