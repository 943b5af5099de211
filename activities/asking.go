package activities

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"

	"rollcall/inventory"
	"rollcall/runbook"
)

// resumesTogether is how many devices one call of Flight Control resumes.
const resumesTogether = 500

// releasedID is the request id of resumes that only have a device rendered.
var releasedID = inventory.ResumeID("released")

// asking has Flight Control resume devices, those of one organisation beside those of another. A call that is not
// answered keeps nothing else of the watch waiting, and one that fails is tried again after a pause.
type asking struct {
	watch     *watch
	inventory *inventory.Store
	flightctl FlightControl
	every     time.Duration

	mu   sync.Mutex
	orgs map[string]*askedOrg
}

type askedOrg struct {
	busy  bool
	ended time.Time
	again backoff
}

func newAsking(w *watch, a *Activities, every time.Duration) *asking {
	return &asking{
		watch: w, inventory: a.Inventory, flightctl: a.Flightctl, every: every, orgs: map[string]*askedOrg{},
	}
}

// resumes are the devices of an organisation that are to be resumed: decided by a human, or released and not rendered.
type resumes struct{ decided, released []string }

// resumesOf are those of an organisation.
func resumesOf(due map[string]*resumes, orgID string) *resumes {
	if due[orgID] == nil {
		due[orgID] = &resumes{}
	}
	return due[orgID]
}

// start asks for what was due at a time, except where a call of the organisation is under way, has ended since, or has
// just failed.
func (k *asking) start(ctx context.Context, due map[string]*resumes, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forget(ctx, due)
	for orgID, what := range due {
		org := k.orgs[orgID]
		if org == nil {
			org = &askedOrg{again: backoff{first: k.every, most: max(k.every, marksEvery)}}
			k.orgs[orgID] = org
		}
		if org.busy || org.ended.After(at) || !org.again.isDue() {
			continue
		}
		org.busy = true
		go func() {
			err := k.storeAnswers(ctx, orgID, what)
			if err == nil {
				err = errors.Join(k.decided(ctx, orgID, what.decided), k.released(ctx, orgID, what.released))
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			org.busy, org.ended = false, time.Now()
			org.again.ended(err)
			k.watch.show(ctx, part(orgID), err)
		}()
	}
}

// storeAnswers asks the key-value store for any key. While it is away Flight Control resumes a device and then hangs,
// as it cannot queue the rendering.
func (k *asking) storeAnswers(ctx context.Context, orgID string, what *resumes) error {
	_, err := k.flightctl.MissingAwaiting(ctx, orgID, slices.Concat(what.decided, what.released)[:1])
	return err
}

// forget drops the organisations for which nothing has been due for so long that nothing of the last call is left to be
// asked for again, and what that call has failed with.
func (k *asking) forget(ctx context.Context, due map[string]*resumes) {
	for orgID, org := range k.orgs {
		if due[orgID] == nil && !org.busy && time.Since(org.ended) > 2*runbook.AskAgainAfter {
			k.watch.show(ctx, part(orgID), nil)
			delete(k.orgs, orgID)
		}
	}
}

func part(orgID string) string { return "resumes of organisation " + orgID }

// decided asks for the devices that humans have decided about, many in one call, up to the first call that fails: the
// others come next. What came of a call is read from their rows: an answer may be lost, and a count says nothing of a
// single device.
func (k *asking) decided(ctx context.Context, orgID string, names []string) error {
	for names := range slices.Chunk(names, resumesTogether) {
		if err := k.ask(ctx, orgID, names); err != nil {
			return err
		}
	}
	return nil
}

func (k *asking) ask(ctx context.Context, orgID string, names []string) error {
	id := inventory.ResumeID(uuid.NewString())
	asked, err := k.inventory.Asking(ctx, k.watch.restoreID, orgID, names, id)
	if err != nil || len(asked) == 0 {
		return err
	}
	n, err := k.flightctl.Resume(ctx, orgID, asked, id)
	if failsAlways(err) {
		return errors.Join(err, k.inventory.NotAsked(ctx, k.watch.restoreID, orgID, asked, id))
	}
	if err != nil {
		return err // it may have been done, or it is about these devices: others come before they are asked for again
	}
	if n < len(asked) {
		activity.GetLogger(ctx).Info("Flight Control has resumed fewer devices than asked",
			"restore", k.watch.restoreID, "asked", len(asked), "resumed", n)
	}
	return nil
}

// released asks for the devices that Flight Control has to render.
func (k *asking) released(ctx context.Context, orgID string, names []string) error {
	for names := range slices.Chunk(names, resumesTogether) {
		if _, err := k.flightctl.Resume(ctx, orgID, names, releasedID); err != nil {
			return err
		}
	}
	return nil
}

// failsAlways reports whether Flight Control was not asked at all, or would answer any call so at present.
func failsAlways(err error) bool {
	var refused interface{ FailsAlways() bool }
	return errors.As(err, &refused) && refused.FailsAlways()
}
