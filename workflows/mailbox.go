package workflows

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

// mailbox holds the signals that a workflow was sent and has not read yet. They are received raw, so that a message
// that cannot be decoded is refused on the timeline instead of being dropped by the SDK.
type mailbox struct {
	run      string
	names    []string
	channels map[string]workflow.ReceiveChannel
	// received counts the messages of each name in the order in which they came.
	received map[string]int
}

// openMailbox makes the mailbox of a workflow that listens to signals of these names.
func openMailbox(ctx workflow.Context, names ...string) *mailbox {
	m := &mailbox{
		run: workflow.GetInfo(ctx).WorkflowExecution.RunID, names: names,
		channels: map[string]workflow.ReceiveChannel{}, received: map[string]int{},
	}
	for _, name := range names {
		m.channels[name] = workflow.GetSignalChannel(ctx, name)
	}
	return m
}

// empty reports whether every message has been read, those of unknown names included.
func (m *mailbox) empty(ctx workflow.Context) bool {
	for _, name := range m.names {
		if m.channels[name].Len() > 0 {
			return false
		}
	}
	return len(m.unknown(ctx)) == 0
}

// unknown lists the names of waiting signals that the workflow does not listen to.
func (m *mailbox) unknown(ctx workflow.Context) []string {
	unread := workflow.GetUnhandledSignalNames(ctx)
	unread = slices.DeleteFunc(unread, func(name string) bool { return slices.Contains(m.names, name) })
	slices.Sort(unread) // the SDK returns them in the order of a map
	return unread
}

// envelope is a message as the mailbox hands it out. A message that cannot be decoded comes as a refusal beside an
// empty message, and one that cannot be stored as a refusal beside the message.
type envelope[T any] struct {
	message   T
	refusal   *runbook.Refusal
	requestID string
}

// next takes the oldest message of a name off the mailbox and decodes it; ok is false when there is none.
func next[T any](m *mailbox, name string) (l envelope[T], ok bool) {
	var raw converter.RawValue
	if !m.channels[name].ReceiveAsync(&raw) {
		return l, false
	}
	l.requestID = m.number(name)
	if err := runbook.DecodeMessage(name, raw.Payload().GetData(), &l.message); err != nil {
		return envelope[T]{refusal: runbook.AsRefusal(err), requestID: l.requestID}, true
	}
	if message, can := any(l.message).(checked); can {
		l.refusal = runbook.AsRefusal(message.Check())
	}
	return l, true
}

// nextUnknown takes a message of an unknown name off the mailbox; ok is false when there is none.
func (m *mailbox) nextUnknown(ctx workflow.Context) (name, requestID string, ok bool) {
	names := m.unknown(ctx)
	if len(names) == 0 {
		return "", "", false
	}
	name = names[0]
	var raw converter.RawValue
	workflow.GetSignalChannel(ctx, name).ReceiveAsync(&raw)
	return name, m.number(name), true
}

// number names the message that was just received. The names are counted apart, because signals of one name keep their
// order however late the workflow reads them, while the order in which it reads different names depends on what else
// has arrived by then. So a task that is executed again gives each message the id that it had the first time.
func (m *mailbox) number(name string) string {
	m.received[name]++
	key := name
	if runbook.Storable(name) != name {
		sum := sha256.Sum256([]byte(name))
		key = hex.EncodeToString(sum[:])
	}
	return fmt.Sprintf("signal/%s/%s/%d", m.run, key, m.received[name])
}

// updateRequest is the request id of the update that ctx answers. It cannot be that of a signal, whatever id the caller
// chose for the update.
func updateRequest(ctx workflow.Context) string {
	return "update/" + workflow.GetCurrentUpdateInfo(ctx).ID
}

// checked is a message that reports, as a *runbook.Refusal, what keeps it from being read.
type checked interface{ Check() error }

// answerUpdates registers an update whose message is an M. It is received raw, as signals are, so that one place bounds
// how large a message may be and which fields it may have. What cannot be read at all, or what more refuses, is turned
// away before it is accepted, and leaves nothing in the history. more may be nil.
//
// A message that was accepted before is read without these checks: a worker of an earlier release may have accepted it.
func answerUpdates[M checked, A any](
	ctx workflow.Context, name, description string, more func(workflow.Context) error,
	handle func(workflow.Context, M) (A, error),
) error {
	check := func(ctx workflow.Context, raw converter.RawValue) error {
		var message M
		err := runbook.DecodeMessage(name, raw.Payload().GetData(), &message)
		if err == nil {
			err = message.Check()
		}
		if err == nil && more != nil {
			err = more(ctx)
		}
		return asFailure(err)
	}
	answer := func(ctx workflow.Context, raw converter.RawValue) (A, error) {
		var message M
		if data := raw.Payload().GetData(); len(data) > 0 {
			if err := json.Unmarshal(data, &message); err != nil {
				var none A
				return none, asFailure(runbook.Refuse(runbook.CodeInvalidRequest, "update %q cannot be read: %v", name, err))
			}
		}
		return handle(ctx, message)
	}
	err := workflow.SetUpdateHandlerWithOptions(ctx, name, answer,
		workflow.UpdateHandlerOptions{Validator: check, Description: description})
	if err != nil {
		return fmt.Errorf("register update %s: %w", name, err)
	}
	return nil
}

// each reads the messages of one name until there is none, and has each dealt with. The error is handle's.
func each[T any](ctx workflow.Context, m *mailbox, name string,
	handle func(workflow.Context, envelope[T]) error,
) error {
	for {
		l, ok := next[T](m, name)
		if !ok {
			return nil
		}
		if err := handle(ctx, l); err != nil {
			return err
		}
	}
}
