package workflows

import (
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"rollcall/runbook"
)

// inbox is the signals that a device has been sent and nobody has read. They are received raw, so that a message that
// cannot be decoded is refused on the timeline instead of being dropped by the SDK.
type inbox struct {
	reconnect, resume, withdraw, look workflow.ReceiveChannel
}

func openInbox(ctx workflow.Context) inbox {
	return inbox{
		reconnect: workflow.GetSignalChannel(ctx, runbook.SignalReconnect),
		resume:    workflow.GetSignalChannel(ctx, runbook.SignalResume),
		withdraw:  workflow.GetSignalChannel(ctx, runbook.SignalWithdraw),
		look:      workflow.GetSignalChannel(ctx, runbook.SignalLook),
	}
}

func (i inbox) empty() bool {
	return i.reconnect.Len()+i.resume.Len()+i.withdraw.Len()+i.look.Len() == 0
}

// next takes the oldest message off a channel and decodes it; ok is false when there is none. What cannot be decoded comes
// as a refusal beside an empty message, and what cannot be stored as a refusal beside the message.
func next[T any](ch workflow.ReceiveChannel, name string) (message T, refusal *runbook.Refusal, ok bool) {
	var raw converter.RawValue
	if !ch.ReceiveAsync(&raw) {
		return message, nil, false
	}
	if err := runbook.DecodeMessage(name, raw.Payload().GetData(), &message); err != nil {
		var none T
		return none, runbook.AsRefusal(err), true
	}
	if checked, can := any(message).(interface{ Check() error }); can {
		refusal = runbook.AsRefusal(checked.Check())
	}
	return message, refusal, true
}

// each reads a channel until it is empty, and has every message dealt with. The error is handle's.
func each[T any](ctx workflow.Context, ch workflow.ReceiveChannel, name string, handle func(workflow.Context, T, *runbook.Refusal) error) error {
	for {
		message, refusal, ok := next[T](ch, name)
		if !ok {
			return nil
		}
		if err := handle(ctx, message, refusal); err != nil {
			return err
		}
	}
}
