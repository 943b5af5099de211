package runbook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Eligible reports whether a restore puts a device on its roll (T1): it is not deleted and not on its way out.
// lifecycle is status.lifecycle.status, or empty.
func Eligible(deleted bool, lifecycle string) bool {
	return !deleted && !slices.Contains(IneligibleLifecycles, lifecycle)
}

// ReconnectDecision is what a report does to a device that awaits its reconnect.
type ReconnectDecision struct {
	// Transition is T2 or T3.
	Transition Transition
	// To is StateNormal or StateConflictPaused.
	To State
	// Updated is the new status.updated.status.
	Updated string
	// Reported is the version in its stored form.
	Reported string
	// Info says in a sentence why the device is paused, with both versions; empty for T2.
	Info string
}

// DecideReconnect compares what a device reports with what was restored (T2, T3). A restored version that cannot be
// read is a conflict. A reported one that cannot be read is a *Refusal with CodeInvalidVersion, and the device stays
// where it is.
func DecideReconnect(restored, reported string) (ReconnectDecision, error) {
	rep, err := ParseVersion(reported)
	if err != nil {
		return ReconnectDecision{}, err
	}
	res, err := ParseVersion(restored)
	switch {
	case err != nil:
		info := "Reported version " + rep.String() + "; the restored version " + quoteShort(restored) + " cannot be read"
		return conflict(rep, info), nil
	case rep > res:
		return conflict(rep, "Reported version "+rep.String()+" is newer than the restored version "+res.String()), nil
	case rep == res:
		return ReconnectDecision{Transition: T2, To: StateNormal, Updated: UpdatedUpToDate, Reported: rep.String()}, nil
	default:
		return ReconnectDecision{Transition: T2, To: StateNormal, Updated: UpdatedOutOfDate, Reported: rep.String()}, nil
	}
}

// ConflictInfo says in a sentence why a device is paused: both versions, and which is the newer (T3). It
// holds also when a paused device reports again, whatever it reports.
func ConflictInfo(restored, reported string) string {
	if d, err := DecideReconnect(restored, reported); err == nil && d.Info != "" {
		return d.Info
	}
	return "Reported version " + quoteShort(reported) + " after a conflict with the restored version " +
		quoteShort(restored)
}

func conflict(reported Version, info string) ReconnectDecision {
	return ReconnectDecision{
		Transition: T3, To: StateConflictPaused, Updated: UpdatedOutOfDate, Reported: reported.String(), Info: info,
	}
}

// Conflict is what a resume decides about: the device's state and versions as they are when the resume is read.
type Conflict struct {
	State    State
	Restored string
	Reported string
	// ResumedBy is who resumed the device already, or empty.
	ResumedBy string
}

// MayResume reports whether a resume counts (T4), and returns the version that it renders. It counts only while the
// device is ConflictPaused, and, where the human named the version that they looked at, only while the device has
// reported no other since. Otherwise the error is a *Refusal: CodeNotPaused, CodeAlreadyResumed, CodeNotWaiting,
// CodeVersionChanged, CodeInvalidVersion or CodeVersionExhausted.
func MayResume(c Conflict, expectVersion string) (Version, error) {
	switch {
	case c.State == StateAwaitingReconnect:
		return 0, Refuse(CodeNotPaused,
			"the device has not reconnected yet, so there is no conflict to decide; a resume is not kept for later: resume it "+
				"again once it is ConflictPaused")
	case c.ResumedBy != "" && c.State != StateWithdrawn: // a withdrawal may end what was not carried out
		return 0, Refuse(CodeAlreadyResumed, "%s has resumed the device already; nothing was changed", c.ResumedBy)
	case c.State != StateConflictPaused:
		return 0, Refuse(CodeNotWaiting, "the device is %s and no longer ConflictPaused; there is nothing to resume", c.State)
	}
	if expectVersion != "" {
		expected, err := ParseVersion(expectVersion)
		if err != nil {
			return 0, err
		}
		if expected.String() != OrZero(c.Reported) {
			return 0, Refuse(CodeVersionChanged,
				"the device has reported version %s, not %s, since you looked; look again, then resume with the version "+
					"that you saw", OrZero(c.Reported), expected)
		}
	}
	return NextVersion(c.Restored, c.Reported)
}

// MayWithdraw reports whether a device may leave the roll call (T5): it is gone from the inventory, deleted, or on its
// way out. force is a human's word that the device will never come back. Otherwise a *Refusal with CodeStillManaged.
func MayWithdraw(exists, deleted bool, lifecycle string, force bool) error {
	if force || !exists || !Eligible(deleted, lifecycle) {
		return nil
	}
	return Refuse(CodeStillManaged,
		"the device is neither deleted nor decommissioned; delete or decommission it first, or withdraw it with force if "+
			"it will never come back")
}

// NoHumanVersion is the answer to a human's report beside Flight Control, whose API has no call for it.
func NoHumanVersion(name string) *Refusal {
	return Refuse(CodeWrongMode,
		"Flight Control decides about device %s at its next poll, and takes no version from a human: "+
			"see that the agent runs and reaches Flight Control; withdraw the device if it never comes back", name)
}

// EnrolledState is the state in which a newly approved device begins. annotations are those of its enrollment request,
// known is spec.knownRenderedVersion. A request that the restore annotated, or that says that a version above zero is
// deployed, begins AwaitingReconnect; any other begins normal. A known version that cannot be read is not zero: waiting
// is the safe state.
func EnrolledState(annotations map[string]string, known string) State {
	if annotations[AnnotationAwaitingReconnect] == AnnotationTrue {
		return StateAwaitingReconnect
	}
	if v, err := ParseVersion(known); err != nil || v > 0 {
		return StateAwaitingReconnect
	}
	return StateNormal
}

// IsAhead reports whether a device knows a version past the one that it was rendered as last, by the annotation. An
// annotation that cannot be read is behind any version but 0.
func IsAhead(rendered string, known Version) bool {
	version, err := ParseVersion(rendered)
	if err != nil {
		return known > 0
	}
	return known > version
}

// KnownStays reports whether a pending request that is posted again keeps the known version that it has. One that says
// that the device runs something is never lowered to nothing, so that its device waits: whoever has the shared
// bootstrap certificate can post in its name.
func KnownStays(before, again string) bool {
	return EnrolledState(nil, before) == StateAwaitingReconnect && EnrolledState(nil, again) != StateAwaitingReconnect
}

// OrZero is a version in its stored form: a missing one is 0, on either side.
func OrZero(version string) string {
	if version == "" {
		return "0"
	}
	return version
}

func quoteShort(s string) string {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return `"` + s + `"`
}

// RenderSpec makes of a device's spec what its agent is given, as Flight Control's renderer does where it needs nothing
// else: agents read the first provider of a configuration alone, and remove every file that is not in it, so that the
// inline ones become one. What has to be fetched or filled in first is a *Refusal with CodeFailed: a provider that is
// not inline, an item of a catalog, and, in a fleet's template, a parameter.
func RenderSpec(spec []byte, templated bool) ([]byte, error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(spec, &fields) != nil || fields == nil {
		return spec, nil // it is no spec, and is never rendered
	}
	switch {
	case bytes.Contains(spec, []byte(`"catalogItemRef"`)):
		return nil, Refuse(CodeFailed, "Rollcall cannot render a spec with an item of a catalog (catalogItemRef)")
	case templated && bytes.Contains(spec, []byte("{{")):
		return nil, Refuse(CodeFailed, "Rollcall cannot render a fleet's template with parameters ({{ ... }})")
	}
	var providers []map[string]json.RawMessage
	if raw := fields["config"]; raw == nil || json.Unmarshal(raw, &providers) != nil || len(providers) == 0 {
		return spec, nil
	}
	var files []json.RawMessage
	for _, provider := range providers {
		var inline []json.RawMessage
		if provider["inline"] == nil || json.Unmarshal(provider["inline"], &inline) != nil {
			return nil, Refuse(CodeFailed, "Rollcall cannot render a configuration that is not inline: provider %.80s",
				provider["name"])
		}
		files = append(files, inline...)
	}
	if len(providers) == 1 {
		return spec, nil
	}
	merged, err := json.Marshal(files)
	if err == nil {
		providers[0]["inline"] = merged
		fields["config"], err = json.Marshal(providers[:1])
	}
	if err != nil {
		return nil, fmt.Errorf("merge the configuration: %w", err)
	}
	return json.Marshal(fields)
}
