package inventorybench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"rollcall/bench/process"
	"rollcall/bench/report"
	"rollcall/inventory"

	"rollcall/inventory/selector"
)

// repetitions of a read in one round.
const readRepetitions = 8

// selection is what someone asks `starter get devices` for.
type selection struct{ name, labels, fields string }

func (b *inventoryBench) selections(someName string) []selection {
	return []selection{
		{"one label", "site=site-7", ""},
		{"two labels", "site=site-7,environment=production", ""},
		{"set-based labels", "site in (site-7,site-8),environment!=test", ""},
		{"status.summary.status, 1 in 100", "", "status.summary.status=ConflictPaused"},
		{"owner", "", "metadata.owner=Fleet/fleet-7"},
		{"label and status", "site=site-7", "status.summary.status=ConflictPaused"},
		{"common label and rare status", "environment=production", "status.summary.status=ConflictPaused"},
		{"label and owner", "environment=production", "metadata.owner=Fleet/fleet-7"},
		{"application status", "", "status.applicationsSummary.status=Error"},
		{"name", "", "metadata.name=" + someName},
		{"part of a name", "", "metadata.name contains " + someName[:6]},
	}
}

// measureReads measures the real program, from its start to its end, and the Store's query alone. The floor of a
// program is the same query on a connection that is made for it, as PostgreSQL starts a process for whoever comes
// fresh, which touches each page for the first time. A slow query hides in it; the query on a connection that is there
// already shows that.
func (b *inventoryBench) measureReads(ctx context.Context, template string) error {
	program, done, err := process.Starter(ctx, b.starter)
	if err != nil {
		return err
	}
	defer done()
	_, err = b.onCopy(ctx, template, func(name string) error {
		address := b.server.urlOf(name)
		store, err := inventory.Open(ctx, address)
		if err != nil {
			return err
		}
		defer store.Close()
		from := source{program: program, address: address, store: store}
		// one in a hundred has come back with a version that is too new
		if _, err := store.DB().ExecContext(ctx, pauseSome); err != nil {
			return err
		}
		if err := b.server.vacuum(ctx, name); err != nil {
			return err
		}
		var someName string
		if err := store.DB().GetContext(ctx, &someName, `select name from devices order by md5(name) limit 1`); err != nil {
			return err
		}
		for _, s := range b.selections(someName) {
			if err := b.measureGet(ctx, from, s); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
		return b.measureStatus(ctx, from)
	})
	return err
}

// pauseSome is T3 for one in a hundred, as a bulk of SQL: only what reads look at.
const pauseSome = `
with picked as (update rollcall.roll set state = 'ConflictPaused', reported_version = '7', since = now()
where seq % 100 = 0 returning org_id, name)
update devices d set annotations = annotations - 'device-controller/awaitingReconnect' ||
'{"device-controller/conflictPaused": "true"}',
    status = jsonb_set(jsonb_set(status, '{summary,status}', '"ConflictPaused"'), '{config,renderedVersion}', '"7"')
from picked where d.org_id = picked.org_id and d.name = picked.name`

func (b *inventoryBench) measureGet(ctx context.Context, from source, s selection) error {
	q := inventory.Query{Brief: true} // as the program asks for a table
	args := []string{"get", "devices"}
	var err error
	if s.labels != "" {
		args = append(args, "-l", s.labels)
		if q.Labels, err = labels.Parse(s.labels); err != nil {
			return err
		}
	}
	if s.fields != "" {
		args = append(args, "--field-selector", s.fields)
		if q.Fields, err = selector.ParseFieldSelector("devices", s.fields); err != nil {
			return err
		}
	}
	found := 0
	read := func(store *inventory.Store) error {
		devices, err := store.Devices(ctx, q)
		found = len(devices)
		return err
	}
	took, err := b.timeRead(ctx, from, read, args...)
	if err != nil {
		return err
	}
	b.addRead(fmt.Sprintf("get devices by %s, %d found", s.name, found), "the query", took, 100)
	return nil
}

func (b *inventoryBench) measureStatus(ctx context.Context, from source) error {
	read := func(store *inventory.Store) error {
		status, err := store.RestoreStatus(ctx, "")
		if err == nil {
			_, err = store.LongestWaiting(ctx, status.RestoreID, 10)
		}
		return err
	}
	took, err := b.timeRead(ctx, from, read, "status")
	if err != nil {
		return err
	}
	version, err := b.repeat(func() error { return runProgram(ctx, from.program, from.address, "version") })
	if err != nil {
		return err
	}
	b.addRead("status", "the queries", took, 200)
	b.add("version, which reads nothing, median", "ms", median(version), 0, nil)
	return nil
}

// source is where reads are made from: the program, and a Store that is connected already.
type source struct {
	program, address string
	store            *inventory.Store
}

// readTook is how long a read took, in milliseconds: on a connection that is there, on one made for it, and by the
// program.
type readTook struct{ query, fresh, process []float64 }

func (b *inventoryBench) timeRead(
	ctx context.Context, from source, read func(*inventory.Store) error, args ...string,
) (took readTook, err error) {
	if took.query, err = b.repeat(func() error { return read(from.store) }); err != nil {
		return took, err
	}
	if took.fresh, err = b.repeat(func() error { return onNewConnection(ctx, from.address, read) }); err != nil {
		return took, err
	}
	took.process, err = b.repeat(func() error { return runProgram(ctx, from.program, from.address, args...) })
	return took, err
}

// addRead reports a read whose program is to take no longer than so many milliseconds.
func (b *inventoryBench) addRead(name, query string, took readTook, most float64) {
	b.add(name+", 95th percentile", "ms", percentile(took.process, 95), percentile(took.fresh, 95), report.AtMost(most))
	b.add(name+", median", "ms", median(took.process), median(took.fresh), nil)
	b.add(name+", "+query+", 95th percentile", "ms", percentile(took.query, 95), 0, nil)
}

// onNewConnection has read use a Store of its own.
func onNewConnection(ctx context.Context, address string, read func(*inventory.Store) error) error {
	store, err := inventory.Open(ctx, address)
	if err != nil {
		return err
	}
	return errors.Join(read(store), store.Close())
}

// repeat measures do in milliseconds, after a first time that is not counted.
func (b *inventoryBench) repeat(do func() error) ([]float64, error) {
	var took []float64
	for i := range b.rounds*readRepetitions + 1 {
		start := time.Now()
		if err := do(); err != nil {
			return nil, err
		}
		if i > 0 {
			took = append(took, time.Since(start).Seconds()*1000)
		}
	}
	return took, nil
}

func runProgram(ctx context.Context, program, address string, args ...string) error {
	var said strings.Builder
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "ROLLCALL_DATABASE_URL="+address)
	cmd.Dir = filepath.Dir(program) // no files of a `starter dev` there
	cmd.Stdout, cmd.Stderr = io.Discard, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("starter %s: %w\n%s", strings.Join(args, " "), err, said.String())
	}
	return nil
}
