package inventorybench

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/bench/report"
	"rollcall/inventory"
)

// benchRestore is the id of the restore in a bench's database.
const benchRestore = "bench"

// rolled is what a whole roll has cost.
type rolled struct {
	took, longest time.Duration
	parts, rows   int
	// largest is the most rows in one transaction.
	largest int
	// memory is what the process has taken from the operating system after the first part and after the last.
	memoryFirst, memoryLast uint64
}

// rollAll puts all devices of a database on a roll as the workflow's activity does, part by part from the first.
func rollAll(ctx context.Context, address string, limit int) (rolled, error) {
	return rollEach(ctx, address, limit, func(inventory.RollResult) {})
}

func rollEach(ctx context.Context, address string, limit int, each func(inventory.RollResult)) (r rolled, err error) {
	store, err := inventory.Open(ctx, address)
	if err != nil {
		return r, err
	}
	defer store.Close()
	start := time.Now()
	if _, err := store.OpenRestore(ctx, inventory.OpenRestoreInput{ID: benchRestore, By: "bench"}); err != nil {
		return r, err
	}
	for in := (inventory.RollInput{RestoreID: benchRestore, Limit: limit}); ; {
		began := time.Now()
		part, err := store.PutOnRoll(ctx, in)
		if err != nil {
			return r, err
		}
		r.longest = max(r.longest, time.Since(began))
		r.parts, r.rows, r.largest = r.parts+1, r.rows+part.Put, max(r.largest, part.Put)
		r.memoryLast = memory()
		if r.parts == 1 {
			r.memoryFirst = r.memoryLast
		}
		each(part)
		if part.Done {
			break
		}
		in = part.Next(in)
	}
	if _, err = store.FinishRoll(ctx, benchRestore); err != nil {
		return r, err
	}
	_, err = store.DB().ExecContext(ctx, cleanPending)
	r.took = time.Since(start)
	return r, err
}

func memory() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys
}

func (b *inventoryBench) measureRoll(ctx context.Context, fleet string) error {
	var ours, floor, ratio, longest, growth, oursWAL, floorWAL, oursCPU, floorCPU []float64
	var largest int
	for range b.rounds {
		var r rolled
		used, err := b.onCopy(ctx, fleet, func(name string) (err error) {
			r, err = rollAll(ctx, b.server.urlOf(name), 0)
			return err
		})
		if err != nil {
			return err
		}
		if r.rows != b.n {
			return fmt.Errorf("%d of %d devices are on the roll", r.rows, b.n)
		}
		ours, longest, largest = append(ours, r.took.Seconds()), append(longest, r.longest.Seconds()), max(largest, r.largest)
		oursWAL, oursCPU = append(oursWAL, used.wal/float64(b.n)), append(oursCPU, used.cpu)
		growth = append(growth, float64(r.memoryLast-min(r.memoryLast, r.memoryFirst))/(1<<20))

		var took time.Duration
		used, err = b.onCopy(ctx, fleet, func(name string) (err error) {
			took, err = runFloorRoll(ctx, b.server.urlOf(name))
			return err
		})
		if err != nil {
			return err
		}
		floor, floorWAL, floorCPU = append(floor, took.Seconds()), append(floorWAL, used.wal/float64(b.n)),
			append(floorCPU, used.cpu)
		ratio = append(ratio, r.took.Seconds()/took.Seconds())
	}
	b.add("T1, the whole roll against one UPDATE", "s", median(ours), median(floor), report.AtMostOfFloor(1.5))
	b.add("T1, median of the rounds' ratios", "ratio", median(ratio), 0, nil)
	b.add("T1, rate", "devices/s", float64(b.n)/median(ours), float64(b.n)/median(floor), nil)
	b.add("T1, longest transaction", "s", percentile(longest, 100), 0, report.AtMost(1))
	b.add("T1, largest transaction", "rows", float64(largest), 0, report.AtMost(5000))
	b.add("T1, WAL for each device", "bytes", median(oursWAL), median(floorWAL), nil)
	b.add("T1, CPU of the server", "s", median(oursCPU), median(floorCPU), nil)
	b.add("T1, growth of the process after the first part", "MiB", percentile(growth, 100), 0, report.AtMost(16))
	return b.measureResumed(ctx, fleet)
}

// serverUsage is what the server has used.
type serverUsage struct{ wal, cpu float64 }

// onCopy runs do on a copy of a database, and counts what the server uses meanwhile.
func (b *inventoryBench) onCopy(
	ctx context.Context, template string, do func(name string) error,
) (used serverUsage, err error) {
	name, err := b.server.copyOf(ctx, template)
	if err != nil {
		return used, err
	}
	defer b.server.drop(name)
	if err := b.server.checkpoint(ctx); err != nil {
		return used, err
	}
	cpu := b.server.cpu(ctx)
	before, err := b.server.wal(ctx)
	if err != nil {
		return used, err
	}
	if err := do(name); err != nil {
		return used, err
	}
	used.cpu = b.server.cpu(ctx) - cpu
	after, err := b.server.wal(ctx)
	used.wal = after - before
	return used, err
}

func runFloorRoll(ctx context.Context, address string) (time.Duration, error) {
	db, err := sql.Open("postgres", address)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return 0, err
	}
	start := time.Now()
	if _, err = db.ExecContext(ctx, floorRoll); err != nil {
		return 0, err
	}
	_, err = db.ExecContext(ctx, cleanPending)
	return time.Since(start), err
}

// measureResumed kills a process in the middle of a roll, lets another go on, and compares what they made with what one
// that was left alone makes.
func (b *inventoryBench) measureResumed(ctx context.Context, fleet string) error {
	limit := max(1, min(b.n/10, inventory.MaxRollSize))
	var whole, resumed int64
	_, err := b.onCopy(ctx, fleet, func(name string) (err error) {
		if _, err = rollAll(ctx, b.server.urlOf(name), limit); err == nil {
			whole, err = b.sum(ctx, name)
		}
		return err
	})
	if err != nil {
		return err
	}
	var left int
	_, err = b.onCopy(ctx, fleet, func(name string) (err error) {
		if err = killHalfway(ctx, b.server.urlOf(name), limit, b.n/2); err != nil {
			return err
		}
		if err = b.scan(ctx, name, `select count(*) from rollcall.roll`, &left); err != nil {
			return err
		}
		if _, err = rollAll(ctx, b.server.urlOf(name), limit); err == nil {
			resumed, err = b.sum(ctx, name)
		}
		return err
	})
	if err != nil {
		return err
	}
	if left == 0 || left == b.n {
		return fmt.Errorf("the process that was to die in the middle left %d devices on the roll", left)
	}
	same := 0.0
	if whole == resumed {
		same = 1
	}
	b.add(fmt.Sprintf("T1, same result after a kill at %d", left), "yes = 1", same, 0, report.AtLeast(1))
	return nil
}

func (b *inventoryBench) sum(ctx context.Context, name string) (sum int64, err error) {
	return sum, b.scan(ctx, name, sameDevices, &sum)
}

func (b *inventoryBench) scan(ctx context.Context, name, query string, into any) error {
	db, err := sql.Open("postgres", b.server.urlOf(name))
	if err != nil {
		return err
	}
	defer db.Close()
	return db.QueryRowContext(ctx, query).Scan(into)
}

// killHalfway runs a roll in a process of its own and kills that once it has put so many devices on the roll.
func killHalfway(ctx context.Context, address string, limit, after int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, "inventory", rollChild, fmt.Sprint(limit))
	cmd.Env = append(os.Environ(), rollChildURL+"="+address)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start a process that rolls: %w", err)
	}
	put := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var n int
		if _, err := fmt.Sscan(lines.Text(), &n); err != nil {
			break
		}
		if put += n; put >= after {
			break
		}
	}
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		return errors.Join(fmt.Errorf("the process that rolls ended before it was killed, with %d on the roll", put), err)
	}
	return nil
}

const (
	rollChild    = "roll-child"
	rollChildURL = "ROLLCALL_BENCH_URL"
)

// newRollChildCommand is the process that killHalfway kills.
func newRollChildCommand() *cobra.Command {
	return &cobra.Command{
		Use: rollChild + " LIMIT", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var limit int
			if _, err := fmt.Sscan(args[0], &limit); err != nil {
				return err
			}
			_, err := rollEach(cmd.Context(), os.Getenv(rollChildURL), limit, func(part inventory.RollResult) {
				fmt.Fprintln(cmd.OutOrStdout(), part.Put)
			})
			return err
		},
	}
}
