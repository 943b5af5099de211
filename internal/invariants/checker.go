package invariants

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"go.temporal.io/sdk/client"
)

// DefaultSettle is how long database, workflows and search index may disagree before it counts: a change reaches
// each of them at its own time.
const DefaultSettle = 30 * time.Second

const (
	// recheckEvery is how often Check looks again at what disagrees.
	recheckEvery = 2 * time.Second
	// queryTimeout bounds a query. A worker answers in milliseconds; without a worker there is no answer.
	queryTimeout = 10 * time.Second
)

// Checker checks the invariants of one control plane.
type Checker struct {
	DB *sqlx.DB
	// Temporal is the cluster that runs the roll call; nil leaves out what only Temporal can tell.
	Temporal client.Client
	// Settle is how long a disagreement may last before it counts; 0 is DefaultSettle, less than 0 is not at all.
	Settle time.Duration
	// Secrets are values that may stand nowhere. Those shorter than LeastSecret are not looked for.
	Secrets []string
	// OrgID limits what is returned to one organisation, and to what concerns all of them; empty is everything.
	OrgID string

	asked *asked
}

// Check returns what is wrong. Database, devices and workflows move while it reads, so it reports only what is still
// wrong when Settle is over; a control plane without a violation is answered for at once. With an error it returns
// what was found all the same.
func (c Checker) Check(ctx context.Context) ([]Violation, error) {
	found, err := c.once(ctx)
	settle := c.Settle
	if settle == 0 {
		settle = DefaultSettle
	}
	for deadline := time.Now().Add(settle); err == nil && len(found) > 0 && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return found, ctx.Err()
		case <-time.After(min(recheckEvery, time.Until(deadline))):
		}
		var again []Violation
		if again, err = c.once(ctx); err == nil {
			found = both(found, again)
		}
	}
	return found, err
}

// both are the violations of again that were there before.
func both(before, again []Violation) []Violation {
	known := map[[5]string]bool{}
	for _, v := range before {
		known[v.key()] = true
	}
	return slices.DeleteFunc(again, func(v Violation) bool { return !known[v.key()] })
}

func (c Checker) once(ctx context.Context) ([]Violation, error) {
	found, err := c.all(ctx)
	if c.OrgID == "" {
		return found, err
	}
	var restores []runningRestore
	failed := c.DB.SelectContext(ctx, &restores, `
select id, cast(org_id as text) as org_id from rollcall.restores where org_id is not null`)
	if failed != nil {
		return nil, errors.Join(err, fmt.Errorf("read the organisations of restores: %w", failed))
	}
	orgs := map[string]string{}
	for _, r := range restores {
		orgs[r.ID] = r.OrgID
	}
	return slices.DeleteFunc(found, func(v Violation) bool {
		of := cmp.Or(v.OrgID, orgs[v.RestoreID])
		return of != "" && of != c.OrgID
	}), err
}

func (c Checker) all(ctx context.Context) ([]Violation, error) {
	found, err := Database(ctx, c.DB)
	if err != nil {
		return found, err
	}
	secret, err := c.Secret(ctx)
	if found = append(found, secret...); err != nil || c.Temporal == nil {
		return found, err
	}
	more, err := c.Workflows(ctx)
	return append(found, more...), err
}
