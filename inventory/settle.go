package inventory

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"rollcall/runbook"
)

// settle runs decide on a device's locked rows in one transaction, unless the request was answered before: then that
// answer is given again. verb names the attempt in errors.
func (s *Store) settle(ctx context.Context, verb string, t target, requestID string, decide func(*sqlx.Tx, position) (Transitioned, error)) (Transitioned, error) {
	// Before the transaction, which holds a connection: many at once could leave none to prepare it on.
	if _, err := s.prepareApply(ctx); err != nil {
		return Transitioned{}, fmt.Errorf("%s device %s: %w", verb, t.Name, err)
	}
	result, err := s.settleOnce(ctx, t, requestID, decide)
	if errors.Is(err, errRestoreEnded) {
		result, err = s.settleOnce(ctx, t, requestID, decide) // which finds it ended from the start, and refuses
	}
	if err != nil {
		return Transitioned{}, fmt.Errorf("%s device %s: %w", verb, t.Name, err)
	}
	return result, nil
}

// errRestoreEnded is a restore that ended after a transition had read that it runs: its row is not locked.
var errRestoreEnded = errors.New("its restore has ended meanwhile")

func (s *Store) settleOnce(ctx context.Context, t target, requestID string, decide func(*sqlx.Tx, position) (Transitioned, error)) (result Transitioned, err error) {
	err = s.inTx(ctx, func(tx *sqlx.Tx) error {
		p, err := lock(ctx, tx, t)
		if err != nil {
			return err
		}
		first, err := readRequest(ctx, tx, t, requestID) // after the locks, so that an attempt under way has ended
		if err != nil {
			return err
		}
		if first != nil {
			result = p.answered(*first)
			return nil
		}
		result, err = decide(tx, p)
		return err
	})
	return result, err
}

// applyAt carries out c on a device whose rows are locked, so that it cannot but hold what c expects.
func (s *Store) applyAt(ctx context.Context, tx *sqlx.Tx, p position, c change) (Transitioned, error) {
	c.FromRoll, c.FromDevice, c.From = p.RollState, p.DeviceState, p.state()
	at, ok, err := s.applyIn(ctx, tx, c)
	if err != nil {
		return Transitioned{}, err
	}
	if !ok {
		return Transitioned{}, fmt.Errorf("write transition %s: %w", c.Transition, errRestoreEnded)
	}
	return c.result(at), nil
}

// refuse answers no, and keeps that in the audit.
func (p position) refuse(ctx context.Context, tx *sqlx.Tx, refusal *runbook.Refusal, r record) (Transitioned, error) {
	r.target, r.Transition, r.From, r.To, r.Restored = p.target, runbook.Refused, p.state(), p.state(), p.restored()
	r.Code, r.Message = refusal.Code, refusal.Message
	if err := r.write(ctx, tx); err != nil {
		return Transitioned{}, err
	}
	return p.refused(refusal), nil
}

// refused is the answer no: where the device stands, and, where another's decision won, whose that was.
func (p position) refused(refusal *runbook.Refusal) Transitioned {
	t := p.stands()
	t.Transition, t.Refusal = runbook.Refused, refusal
	if refusal.Code == runbook.CodeAlreadyResumed {
		t.By, t.Reason = p.ResumedBy, p.ResumedReason
	}
	return t
}

// answered is the answer to a request that was answered before.
func (p position) answered(first record) Transitioned {
	if first.Code != "" {
		return p.refused(&runbook.Refusal{Code: first.Code, Message: first.Message})
	}
	return first.result(true)
}

// ended is the answer for a device that has left the roll call: what ended its part, and that nothing was done now.
func (p position) ended(ctx context.Context, tx *sqlx.Tx) (Transitioned, error) {
	ending, err := readEnding(ctx, tx, p.target)
	if err != nil {
		return Transitioned{}, err
	}
	if ending == nil {
		return p.stands(), nil
	}
	return ending.result(false), nil
}
