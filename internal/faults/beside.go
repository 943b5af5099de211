package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"rollcall/flightctl/fake"
	"rollcall/internal/authority"
	"rollcall/runbook"
)

// beside is a fake Flight Control in this process, and the agents that poll it. The workers run beside it.
type beside struct {
	*run
	fake   *fake.FlightControl
	ca     *authority.CA
	log    *os.File
	agents []*agent
	polls  sync.WaitGroup
	end    context.CancelFunc
}

// holdPolls is short, so that agents notice soon what is new after the key-value store has lost its keys.
const holdPolls = 2 * time.Second

func (r *run) startBeside() error {
	caFile := filepath.Join(r.dir, "ca.crt")
	ca, err := authority.LoadOrMake(caFile, filepath.Join(r.dir, "ca.key"))
	if err != nil {
		return err
	}
	b := &beside{run: r, ca: ca}
	if b.log, err = os.Create(filepath.Join(r.dir, "flightctl.log")); err != nil {
		return fmt.Errorf("log of the fake Flight Control: %w", err)
	}
	b.fake, err = fake.Start(fake.Config{
		DatabaseURL: r.servers.database(), CA: ca, AgentRequestsPerMinute: -1, HoldFor: holdPolls,
		Logger: slog.New(slog.NewTextHandler(b.log, nil)),
	})
	if err != nil {
		return errors.Join(err, b.log.Close())
	}
	r.beside = b
	for name, value := range b.fake.Variables(caFile) {
		r.besideEnv = append(r.besideEnv, name+"="+value)
	}
	return nil
}

// startAgents starts an agent for each device. They come back one after the other, until a third of length is over.
func (b *beside) startAgents(ctx context.Context, length time.Duration) error {
	ctx, b.end = context.WithCancel(ctx)
	random := rand.New(rand.NewPCG(b.options.Seed, 1000))
	for n := range b.options.Devices {
		g, err := b.newAgent(n, random.Int64N(7)+3)
		if err != nil {
			return err
		}
		b.agents = append(b.agents, g)
		comes := time.Duration(random.Int64N(int64(length) / 3))
		b.polls.Go(func() {
			wait(ctx, comes)
			g.work(ctx)
		})
	}
	return nil
}

func (b *beside) stop() error {
	if b.end != nil {
		b.end()
	}
	b.polls.Wait()
	return errors.Join(b.fake.Close(), b.log.Close())
}

// points are those of the fake that a roll call passes.
var points = []fake.Point{
	fake.ResumeAfterStatement, fake.ResumeAfterEvent, fake.ResumeAfterAll, fake.PollAfterStatement,
}

// breakIt has the fake die at a point, lose its key-value store for a while, or render nothing for a while.
func (b *beside) breakIt(ctx context.Context, random *rand.Rand, length time.Duration) error {
	switch n := random.IntN(100); {
	case n < 60:
		point := points[random.IntN(len(points))]
		b.say("Flight Control is killed at %s", point)
		b.broke(fmt.Sprintf("Flight Control to be killed at %s", point))
		b.fake.Kill(point, 1+random.IntN(3))
	case n < 75:
		b.say("the key-value store loses its keys")
		b.broke("key-value store emptied")
		b.fake.LoseStore()
	case n < 90:
		b.say("the key-value store is away for %s", length)
		b.broke("key-value store stopped")
		b.fake.StopStore()
		wait(ctx, length)
		return b.fake.StartStore()
	default:
		b.say("Flight Control's worker stands still for %s", length)
		b.broke("Flight Control's worker paused")
		b.fake.PauseWorker(true)
		wait(ctx, length)
		b.fake.PauseWorker(false)
	}
	return nil
}

func (b *beside) mend() {
	for _, point := range points {
		b.fake.Kill(point, 0)
	}
}

// passTime has two minutes pass for those that Flight Control was asked to resume some seconds ago. That is how long it
// is given before a device counts as resumed and not rendered.
const passTime = `update rollcall.roll set sent_at = sent_at - interval '2 minutes'
	where sent_at between now() - interval '2 minutes' and now() - interval '5 seconds'`

const selectUnderWay = `select count(*) from rollcall.roll r join rollcall.restores s on s.id = r.restore_id
	where s.state = 'Running'
	and (r.state = 'AwaitingReconnect' or r.state = 'ConflictPaused' and r.decided_version is not null)`

// busy says what Flight Control, its agents and the roll have yet to do; empty is nothing.
func (b *beside) busy(ctx context.Context) (string, error) {
	if _, err := b.store.DB().ExecContext(ctx, passTime); err != nil {
		return "", err
	}
	var underWay int
	if err := b.store.DB().GetContext(ctx, &underWay, selectUnderWay); err != nil || underWay > 0 {
		return fmt.Sprintf("%d devices are yet to be compared, or rendered", underWay), err
	}
	for _, g := range b.agents {
		state, rendered, err := b.device(ctx, g.name)
		if err != nil {
			return "", err
		}
		if state == runbook.StateNormal && rendered > g.runs() {
			return fmt.Sprintf("%s runs %d, and %d was rendered for it", g.name, g.runs(), rendered), nil
		}
	}
	return "", nil
}

// device reads which state and which rendered version a device's annotations say.
func (b *beside) device(ctx context.Context, name string) (state runbook.State, rendered int64, err error) {
	row := b.store.DB().QueryRowxContext(ctx, `select rollcall.device_state(annotations),
		cast(annotations ->> '`+runbook.AnnotationRenderedVersion+`' as bigint) from devices where name = $1`, name)
	if err := row.Scan(&state, &rendered); err != nil {
		return "", 0, fmt.Errorf("read device %s: %w", name, err)
	}
	return state, rendered, nil
}

// look checks what Flight Control has made of the decisions, and brings a row of the roll to what the model knows:
// where the roll follows late, it holds a version that the agent has taken since.
func (b *beside) look(ctx context.Context, c *Call) error {
	for _, g := range b.agents {
		if g.name != c.Device {
			continue
		}
		_, rendered, err := b.device(ctx, g.name)
		if err != nil {
			return err
		}
		runs := fmt.Sprint(g.runs())
		if by := c.Seen.By; by != "" && (fmt.Sprint(rendered) != c.Seen.Next || runs != c.Seen.Next) {
			b.fail(fmt.Errorf("%s was resumed by %s towards %s: %d was rendered, and it runs %s",
				g.name, by, c.Seen.Next, rendered, runs))
		}
		if c.Seen.State == runbook.StateNormal && c.Seen.Reported == runs {
			c.Seen.Reported = g.came
		}
	}
	return nil
}
