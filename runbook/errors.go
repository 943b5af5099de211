package runbook

import (
	"errors"
	"fmt"
)

// Code says for machines why something was refused. Codes are promises: scripts and the audit hold them.
type Code string

// The codes of refusals.
const (
	CodeInvalidVersion   Code = "InvalidVersion"   // a reported, expected or rendered version is not one
	CodeInvalidRequest   Code = "InvalidRequest"   // the message cannot be read, or lacks a field
	CodeNotPaused        Code = "NotPaused"        // a resume, but the device is not ConflictPaused
	CodeAlreadyResumed   Code = "AlreadyResumed"   // a resume, but someone else's won
	CodeVersionChanged   Code = "VersionChanged"   // the device has reported another version than the one expected
	CodeVersionExhausted Code = "VersionExhausted" // nothing can be rendered past the highest version
	CodeStillManaged     Code = "StillManaged"     // a withdrawal, but the device is neither deleted nor decommissioned
	CodeSuperseded       Code = "Superseded"       // the restore is no longer the current one
	CodeNotWaiting       Code = "NotWaiting"       // the device has left the roll call already
	CodeNoRollCall       Code = "NoRollCall"       // no roll call waits for the device
	CodeRestoreRunning   Code = "RestoreRunning"   // another restore runs
	CodeRestoreEnded     Code = "RestoreEnded"     // a restore of this id has ended
	CodeScopeMismatch    Code = "ScopeMismatch"    // the restore's organisations do not fit the one it meets
	CodeOutcomeUnknown   Code = "OutcomeUnknown"   // no answer came in time; ask again with the same request id
	CodeNotAsked         Code = "NotAsked"         // a bulk command ended before it came to this one
	CodeNotFound         Code = "NotFound"         // there is no such thing
	CodeAlreadyApproved  Code = "AlreadyApproved"  // a decision about an enrollment request that was approved
	CodeAlreadyDenied    Code = "AlreadyDenied"    // a decision about an enrollment request that was denied
	CodeDeviceExists     Code = "DeviceExists"     // an approval, but there is a device of that name
	CodeKeyChanged       Code = "KeyChanged"       // an approval, but the request holds another key than the one expected
	CodeUnsignable       Code = "Unsignable"       // an approval, but no certificate can ever be signed of the request
	CodeDevicesWaiting   Code = "DevicesWaiting"   // a restore cannot complete while devices on its roll wait
	CodeVersionUnknown   Code = "VersionUnknown"   // a resume, but what the device runs is not known yet
	// not in the mode of this restore: Flight Control decides, or our gateway
	CodeWrongMode  Code = "WrongMode"
	CodeLost       Code = "Lost"       // it was acknowledged, and the database was put back to before it
	CodeNotYou     Code = "NotYou"     // --as names another than the caller that Temporal knows
	CodeNotDecided Code = "NotDecided" // the message refers to a decision that is not about it
	CodeFailed     Code = "Failed"     // the request could not be carried out
)

// Refusal is a "no" with a reason: a code for machines, and a sentence for people that says what was wrong and what to
// do. It is an answer, not a failure, and is never worth a retry.
type Refusal struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Error is the sentence for people.
func (r *Refusal) Error() string { return r.Message }

// maxRefusal is how many characters the sentence of a refusal has at most. It may quote what a stranger has sent, and
// it is kept in histories, in the audit and in answers to queries.
const maxRefusal = 1000

// Refuse makes a Refusal; format and args are those of fmt.Sprintf. The sentence can always be stored.
func Refuse(code Code, format string, args ...any) *Refusal {
	return (&Refusal{Code: code, Message: fmt.Sprintf(format, args...)}).Storable()
}

// Storable is the refusal with its code and sentence as they can be kept. What Refuse made is so already; what another
// program or release has sent need not be.
func (r *Refusal) Storable() *Refusal {
	return &Refusal{Code: Code(Storable(string(r.Code))), Message: storable(r.Message, maxRefusal)}
}

// AsRefusal finds the Refusal in err's chain, or returns nil.
func AsRefusal(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return nil
}
