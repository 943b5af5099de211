package inventorybench

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"rollcall/bench/report"
	"rollcall/inventory"
	"rollcall/runbook"
)

// transitionsAtOnce is the most devices of one measurement.
const transitionsAtOnce = 5000

// transitionKind is T2 or T3 with what its floor writes.
type transitionKind struct {
	name                           string
	transition                     runbook.Transition
	reported                       string
	added, summary, updated, confg string
}

var transitionKinds = []transitionKind{
	{
		"T2", runbook.T2, "5", `{}`, `{"status": "Online", "info": "Device is up to date"}`, `{"status": "UpToDate"}`,
		`{"renderedVersion": "5"}`,
	},
	{
		"T3", runbook.T3, "7", `{"device-controller/conflictPaused": "true"}`,
		`{"status": "ConflictPaused", "info": "` + runbook.ConflictPausedInfo("5", "7") + `"}`,
		`{"status": "OutOfDate"}`, `{"renderedVersion": "7"}`,
	},
}

// measureTransitions gives each round a database of its own, in the state that the roll and a vacuum have left, and in
// it a slice of the fleet to each of ours and the floor, of T2 and T3, in an order that turns from round to round.
func (b *inventoryBench) measureTransitions(ctx context.Context, template string) error {
	paces := make([]paces, len(transitionKinds))
	for round := range b.rounds {
		_, err := b.onCopy(ctx, template, func(name string) error { return b.transitionsRound(ctx, name, round, paces) })
		if err != nil {
			return err
		}
	}
	for i, k := range transitionKinds {
		ours, floor := paces[i].ours, paces[i].floor
		b.add(fmt.Sprintf("%s at %d connections", k.name, b.connections), "/s", median(rates(ours)), 0, report.AtLeast(1000))
		b.add(fmt.Sprintf("%s at %d connections against a bare UPDATE", k.name, b.connections), "/s",
			median(rates(ours)), median(rates(floor)), report.AtLeastOfFloor(0.5))
		b.add(k.name+", median of the rounds' ratios", "ratio", median(ratios(ours, floor)), 0, nil)
		b.add(k.name+", CPU of the server for each", "ms", median(pick(ours, pace.cpuOf)), median(pick(floor, pace.cpuOf)),
			nil)
		b.add(k.name+", WAL for each", "bytes", median(pick(ours, pace.walOf)), median(pick(floor, pace.walOf)), nil)
	}
	return nil
}

func (b *inventoryBench) transitionsRound(ctx context.Context, name string, round int, found []paces) error {
	store, err := inventory.Open(ctx, b.server.urlOf(name))
	if err != nil {
		return err
	}
	defer store.Close()
	store.DB().SetMaxOpenConns(b.connections)
	store.DB().SetMaxIdleConns(b.connections)
	var names []string
	if err := store.DB().SelectContext(ctx, &names, `select name from rollcall.roll order by md5(name)`); err != nil {
		return err
	}
	bare, err := store.DB().PrepareContext(ctx, floorTransition)
	if err != nil {
		return err
	}
	defer bare.Close()
	runs := 2 * len(transitionKinds)
	size := min(transitionsAtOnce, len(names)/(runs+1))
	warm := min(size/runs, 20*b.connections) // opens connections, and prepares both statements on each
	for run := range runs {
		turn := (run + round) % runs
		k := transitionKinds[turn/2]
		do, into := func(name string) error { return k.ours(ctx, store, name) }, &found[turn/2].ours
		if turn%2 == 1 {
			do, into = func(name string) error { return k.floor(ctx, bare, name) }, &found[turn/2].floor
		}
		if _, err := b.atOnce(ctx, store, names[:warm], do); err != nil {
			return err
		}
		p, err := b.atOnce(ctx, store, names[warm:warm+size], do)
		if err != nil {
			return err
		}
		names = names[warm+size:]
		*into = append(*into, p)
	}
	return nil
}

func (k transitionKind) ours(ctx context.Context, store *inventory.Store, name string) error {
	done, err := store.Reconnect(ctx, inventory.ReconnectInput{
		RestoreID: benchRestore, OrgID: runbook.DefaultOrgID, Name: name, Restored: "5", Reported: k.reported,
		RequestID: "reconnect/" + name + "/1",
	})
	if err != nil {
		return err
	}
	if !done.Applied || done.Transition != k.transition {
		return fmt.Errorf("device %s: %s was not carried out: %+v", name, k.name, done)
	}
	return nil
}

func (k transitionKind) floor(ctx context.Context, bare *sql.Stmt, name string) error {
	_, err := bare.ExecContext(ctx, runbook.DefaultOrgID, name, k.added, k.summary, k.updated, k.confg)
	return err
}

// pace is how quickly and at what cost a slice of the fleet went through.
type pace struct{ rate, wal, cpu float64 }

func (p pace) rateOf() float64 { return p.rate }
func (p pace) cpuOf() float64  { return p.cpu }
func (p pace) walOf() float64  { return p.wal }

// paces are those of all rounds.
type paces struct{ ours, floor []pace }

func pick(from []pace, what func(pace) float64) []float64 {
	values := make([]float64, len(from))
	for i, p := range from {
		values[i] = what(p)
	}
	return values
}

func rates(from []pace) []float64 { return pick(from, pace.rateOf) }

func ratios(ours, floor []pace) []float64 {
	values := make([]float64, len(ours))
	for i := range ours {
		values[i] = ours[i].rate / floor[i].rate
	}
	return values
}

// cleanPending writes what the GIN indexes have put off. It is part of what is measured: who comes when a list is full
// would pay for all.
const cleanPending = `
select coalesce(sum(gin_clean_pending_list(i.indexrelid)), 0) from pg_index i join pg_class c on c.oid = i.indexrelid
join pg_am a on a.oid = c.relam
where i.indrelid = 'devices'::regclass and a.amname = 'gin'`

// atOnce does something for each name, so many at a time as --connections says.
func (b *inventoryBench) atOnce(
	ctx context.Context, store *inventory.Store, names []string, do func(name string) error,
) (pace, error) {
	cpu := b.server.cpu(ctx)
	wal, err := b.server.wal(ctx)
	if err != nil {
		return pace{}, err
	}
	queue := make(chan string, len(names))
	for _, name := range names {
		queue <- name
	}
	close(queue)
	failed := make([]error, b.connections)
	var workers sync.WaitGroup
	start := time.Now()
	for i := range b.connections {
		workers.Go(func() {
			for name := range queue {
				if failed[i] = do(name); failed[i] != nil {
					return
				}
			}
		})
	}
	workers.Wait()
	if err := errors.Join(failed...); err != nil {
		return pace{}, err
	}
	if _, err := store.DB().ExecContext(ctx, cleanPending); err != nil {
		return pace{}, err
	}
	took := time.Since(start)
	walAfter, err := b.server.wal(ctx)
	n := float64(len(names))
	return pace{rate: n / took.Seconds(), wal: (walAfter - wal) / n, cpu: (b.server.cpu(ctx) - cpu) * 1000 / n}, err
}
