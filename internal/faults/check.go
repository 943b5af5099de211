package faults

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

	"rollcall/internal/invariants"
	"rollcall/inventory/roles"
	"rollcall/runbook"
)

// atRest is how long a run may take to come to rest.
const atRest = 4 * time.Minute

// check ends all faults, waits until everything has come to rest, and looks what the run has left.
func (r *run) check(ctx context.Context) error {
	r.mu.Lock()
	r.calm = true
	r.mu.Unlock()
	if !r.options.Calm {
		for _, p := range r.processes {
			p.signal(contSignal)
			p.renew()
		}
	}
	if r.beside != nil {
		r.beside.mend()
	}
	r.say("faults have ended")
	if err := r.awaitRest(ctx); err != nil {
		return err
	}
	end := time.Now()
	r.say("everything is at rest")
	plans, err := r.planCalls(ctx, end)
	if err != nil {
		return err
	}
	r.result.Calls = append(r.result.Calls, plans...)
	for _, o := range r.orgs {
		if err := cmp.Or(r.look(ctx, o, end), r.lookAtRequests(ctx, o, end)); err != nil {
			return err
		}
	}
	r.result.Illegal, r.result.Undecided = search(r.result.Calls, end, searchLimit)
	slices.SortStableFunc(r.result.Calls, func(a, b Call) int { return a.Start.Compare(b.Start) })
	if r.options.Bug != "" && len(r.result.Illegal) > 0 {
		return nil // it was found; the invariants would wait for what never comes
	}
	for _, calls := range r.result.Undecided {
		r.say("the order of %d calls of %.4s/%s is not decided", len(calls), calls[0].OrgID, calls[0].Device)
	}
	limited, cancel := context.WithTimeout(ctx, atRest)
	defer cancel()
	if err := cmp.Or(r.checkInvariants(limited), r.checkListed(ctx)); err != nil {
		return err
	}
	return r.checkNamed(ctx)
}

// checkListed checks that `starter get devices` shows each device of a roll where the database has it.
func (r *run) checkListed(ctx context.Context) error {
	for _, o := range r.orgs {
		said, err := r.operate(ctx, "", "get", "devices", "--org", o.id, "-o", "json")
		var list struct {
			Items []struct {
				Metadata struct {
					Name        string            `json:"name"`
					Annotations map[string]string `json:"annotations"`
				} `json:"metadata"`
			} `json:"items"`
		}
		if err == nil {
			err = json.Unmarshal(said, &list)
		}
		if err != nil {
			return fmt.Errorf("starter get devices: %w", err)
		}
		shown := map[string]runbook.State{}
		for _, item := range list.Items {
			shown[item.Metadata.Name] = runbook.StateOf(item.Metadata.Annotations)
		}
		rows, err := r.rows(ctx, o)
		if err != nil {
			return err
		}
		for _, c := range rows {
			if says, there := shown[c.Device]; there && says != c.Seen.State && c.Seen.State != runbook.StateWithdrawn {
				r.fail(fmt.Errorf("starter get devices shows %.4s/%s as %s, and the roll has it as %s", o.id, c.Device, says,
					c.Seen.State))
			} else if !there && c.Seen.State.Open() {
				r.fail(fmt.Errorf("starter get devices does not show %.4s/%s, which is %s", o.id, c.Device, c.Seen.State))
			}
		}
	}
	return nil
}

// look reads where the devices of an organisation stand, and marks the calls that came before they were all on the
// roll.
func (r *run) look(ctx context.Context, o organisation, end time.Time) error {
	var rolled time.Time
	err := r.store.DB().GetContext(ctx, &rolled, `select rolled_at from rollcall.restores where id = $1`, o.restoreID)
	if err != nil {
		return fmt.Errorf("read when the roll was complete: %w", err)
	}
	for i, c := range r.result.Calls {
		r.result.Calls[i].Early = c.Early || c.OrgID == o.id && r.isUnrolled(o, c, rolled)
	}
	looks, err := r.rows(ctx, o)
	if err != nil {
		return err
	}
	for _, c := range looks {
		c.Start, c.End = end.Add(time.Millisecond), end.Add(time.Second)
		if r.beside != nil {
			if err := r.beside.look(ctx, &c); err != nil {
				return err
			}
		}
		r.result.Calls = append(r.result.Calls, c)
	}
	return nil
}

// rows reads where the devices on the roll of an organisation stand.
func (r *run) rows(ctx context.Context, o organisation) (looks []Call, err error) {
	var rows []struct {
		row
		Name string `db:"name"`
	}
	start := time.Now()
	if err := r.store.DB().SelectContext(ctx, &rows, selectRows, o.restoreID); err != nil {
		return nil, fmt.Errorf("read the roll: %w", err)
	}
	for _, found := range rows {
		looks = append(looks, Call{OrgID: o.id, Device: found.Name, Kind: Look, Seen: found.row, Start: start})
	}
	return looks, nil
}

// settle is for the inventory watch, which mends within a minute what a crash has left.
const settle = 2 * time.Minute

// checkInvariants runs internal/invariants. A question to a workflow that a killed worker had in its cache has no
// answer until Temporal has given the workflow to another worker, so it is asked again while there is time.
func (r *run) checkInvariants(ctx context.Context) (err error) {
	secrets, err := r.secrets()
	if err != nil {
		return err
	}
	if err := r.checkLogs(secrets); err != nil {
		return err
	}
	checker := invariants.Checker{DB: r.store.DB(), Temporal: r.temporal, Settle: settle, Secrets: secrets}
	for {
		if r.result.Violations, err = checker.Check(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		r.say("check again: %v", err)
		wait(ctx, time.Second)
	}
}

// secrets are what the programs are given, and what may stand nowhere: passwords, and lines of private keys.
func (r *run) secrets() (secrets []string, err error) {
	for _, role := range []string{"", roles.Worker, roles.Gateway, roles.Operator} {
		text := r.servers.database()
		if role != "" {
			text = r.servers.databaseURL(role)
		}
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("read the password of a role: %w", err)
		}
		if password, ok := u.User.Password(); ok {
			secrets = append(secrets, password)
		}
	}
	for _, name := range []string{"ca.key", "gateway.key"} {
		key, err := os.ReadFile(filepath.Join(r.dir, name))
		if errors.Is(err, fs.ErrNotExist) { // there is no gateway beside Flight Control
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read a key: %w", err)
		}
		if lines := strings.Split(string(key), "\n"); len(lines) > 2 {
			secrets = append(secrets, lines[1])
		}
	}
	secrets = slices.DeleteFunc(secrets, func(s string) bool { return len(s) < invariants.LeastSecret })
	if len(secrets) == 0 {
		return nil, errors.New("the programs were given no secret that could be looked for")
	}
	return secrets, nil
}

// checkLogs checks that no program has written a secret to its log.
func (r *run) checkLogs(secrets []string) error {
	logs, err := filepath.Glob(filepath.Join(r.dir, "*.log"))
	if err != nil {
		return fmt.Errorf("list the logs: %w", err)
	}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			return fmt.Errorf("read a log: %w", err)
		}
		for _, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				r.fail(fmt.Errorf("a secret stands in %s", filepath.Base(log)))
			}
		}
	}
	return nil
}

const selectRows = `select name, state, coalesce(reported_version, '') as reported, coalesce(next_version, '') as next,
	coalesce(resumed_by, '') as by from rollcall.roll where restore_id = $1 order by seq`

const selectOpen = `select r.org_id, r.name from rollcall.roll r join rollcall.restores s on s.id = r.restore_id
	where s.state = 'Running' and r.state in ('AwaitingReconnect', 'ConflictPaused')`

// selectNoted finds reports that the gateways have acknowledged and that no workflow has read.
const selectNoted = `select r.org_id, r.name from rollcall.roll r join rollcall.restores s on s.id = r.restore_id
	where s.state = 'Running' and r.state = 'AwaitingReconnect' and r.noted_version <> ''`

// awaitRest waits until both rolls are complete, and no device has a report or a message that is yet to be read.
func (r *run) awaitRest(ctx context.Context) error {
	return await(ctx, atRest, "the run comes to rest", func(ctx context.Context) (string, error) {
		if busy, err := r.rolled(ctx); busy != "" || err != nil {
			return busy, err
		}
		if r.beside != nil {
			if busy, err := r.beside.busy(ctx); busy != "" || err != nil {
				return busy, err
			}
		}
		if busy, err := r.goOnWithPlans(ctx); busy != "" || err != nil {
			return busy, err
		}
		if busy, err := r.requestsBusy(ctx); busy != "" || err != nil {
			return busy, err
		}
		return r.busy(ctx)
	})
}

// awaitBegun waits until all devices are on the roll, and the workflow of each waits for it.
func (r *run) awaitBegun(ctx context.Context) error {
	return await(ctx, atRest, "each device is waited for", func(ctx context.Context) (string, error) {
		if busy, err := r.rolled(ctx); busy != "" || err != nil {
			return busy, err
		}
		return r.busy(ctx)
	})
}

// lookEvery is how often await looks.
const lookEvery = 200 * time.Millisecond

// await waits until busy says that nothing is under way. It takes an error for something that is: servers come back.
func await(ctx context.Context, limit time.Duration, what string,
	busy func(context.Context) (string, error),
) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		left, err := busy(ctx)
		switch {
		case err != nil:
			left = err.Error()
		case left == "":
			return nil
		}
		wait(ctx, lookEvery)
		if ctx.Err() != nil {
			return fmt.Errorf("wait until %s (%s): %w", what, left, ctx.Err())
		}
	}
}

// rolled says whether a restore has yet to put its devices on the roll; empty is none.
func (r *run) rolled(ctx context.Context) (string, error) {
	var rolled int
	err := r.store.DB().GetContext(ctx, &rolled, `select count(*) from rollcall.restores where rolled_at is not null`)
	if err == nil && rolled < len(r.orgs) {
		return "a restore has not put its devices on the roll", nil
	}
	return "", err
}

// eventsOfStart are the events of a workflow that has carried out nothing: it has started, and a task is scheduled.
const eventsOfStart = 2

// busy says what is still under way; empty is nothing.
func (r *run) busy(ctx context.Context) (string, error) {
	type device struct {
		OrgID string `db:"org_id"`
		Name  string `db:"name"`
	}
	var noted, open []device
	if err := r.store.DB().SelectContext(ctx, &noted, selectNoted); err != nil {
		return "", err
	}
	if len(noted) > 0 {
		return fmt.Sprintf("%d devices have reported, and their workflows are yet to be told", len(noted)), nil
	}
	if err := r.store.DB().SelectContext(ctx, &open, selectOpen); err != nil {
		return "", err
	}
	for _, d := range open {
		if busy, err := r.reads(ctx, runbook.DeviceWorkflowID(d.OrgID, d.Name)); busy != "" || err != nil {
			return busy, err
		}
	}
	return "", nil
}

// reads says that a workflow has something to read, or to carry out; empty is that it has not.
func (r *run) reads(ctx context.Context, id string) (string, error) {
	described, err := r.temporal.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return "", fmt.Errorf("describe %s: %w", id, err)
	}
	// A child has no workflow task for a moment after its start, until Temporal has told its parent.
	begun := described.GetWorkflowExecutionInfo().GetHistoryLength() > eventsOfStart
	if !begun || described.GetPendingWorkflowTask() != nil || len(described.GetPendingActivities()) > 0 {
		return id + " has a message to read", nil
	}
	return "", nil
}

// runs reports whether a workflow of this id runs.
func (r *run) runs(ctx context.Context, id string) (bool, error) {
	described, err := r.temporal.DescribeWorkflowExecution(ctx, id, "")
	var missing *serviceerror.NotFound
	if errors.As(err, &missing) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("describe %s: %w", id, err)
	}
	return described.GetWorkflowExecutionInfo().GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}
