package invariants

import (
	"context"
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
}

// Check returns what is wrong. Database, devices and workflows move while it reads, so it reports only what is still
// wrong when Settle is over; a control plane without a violation is answered for at once.
func (c Checker) Check(ctx context.Context) ([]Violation, error) {
	found, err := c.once(ctx)
	settle := c.Settle
	if settle == 0 {
		settle = DefaultSettle
	}
	for deadline := time.Now().Add(settle); err == nil && len(found) > 0 && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(recheckEvery, time.Until(deadline))):
		}
		var again []Violation
		again, err = c.once(ctx)
		found = both(found, again)
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
	found, err := Database(ctx, c.DB)
	if err != nil {
		return nil, err
	}
	secret, err := c.Secret(ctx)
	if found = append(found, secret...); err != nil || c.Temporal == nil {
		return found, err
	}
	more, err := c.Workflows(ctx)
	return append(found, more...), err
}
