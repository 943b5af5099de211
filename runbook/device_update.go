package runbook

import "strings"

// ReconnectRequest is a person's report of the version that a device runs, as the update UpdateReconnect takes it. An
// agent's report is a ReconnectSignal.
type ReconnectRequest struct {
	// RenderedVersion must not be empty. A device that runs no version is reported as "0".
	RenderedVersion string `json:"renderedVersion"`
	// By is who reports; it must not be empty.
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	Origin
}

// UnmarshalJSON reads a request strictly, as ResumeRequest does.
func (r *ReconnectRequest) UnmarshalJSON(text []byte) error {
	type plain ReconnectRequest
	return decodeObject(text, (*plain)(r))
}

// Check reports, as a *Refusal, what keeps the request from being read: it names no person or no version, or a text
// cannot be stored. A text that is no version is refused later, and the device's timeline says so.
func (r ReconnectRequest) Check() error {
	switch {
	case strings.TrimSpace(r.By) == "":
		return Refuse(CodeInvalidRequest, "the report does not say who reports: set \"by\", as in %s", exampleReconnect)
	case r.RenderedVersion == "":
		return Refuse(CodeInvalidRequest,
			"the report has no version: set \"renderedVersion\", as in %s; it is \"0\" for a device that runs none",
			exampleReconnect)
	case len(r.RenderedVersion) > MaxText:
		return Refuse(CodeInvalidVersion, "a version of %d bytes cannot be read", len(r.RenderedVersion))
	}
	return r.Signal().Check()
}

// Signal returns the report as the signal has it.
func (r ReconnectRequest) Signal() ReconnectSignal {
	return ReconnectSignal{RenderedVersion: r.RenderedVersion, By: r.By, Reason: r.Reason, Origin: r.Origin}
}

// WithdrawRequest is a person's word that a device was deleted or decommissioned, as the update UpdateWithdraw takes
// it.
type WithdrawRequest struct {
	// By is who says so; it must not be empty.
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	// Force and Decommission are as in WithdrawSignal.
	Force        bool   `json:"force,omitempty"`
	Decommission string `json:"decommission,omitempty"`
	Origin
}

// UnmarshalJSON reads a request strictly, as ResumeRequest does.
func (r *WithdrawRequest) UnmarshalJSON(text []byte) error {
	type plain WithdrawRequest
	return decodeObject(text, (*plain)(r))
}

// Check reports, as a *Refusal, what keeps the request from being carried out: it names no person, or what
// WithdrawSignal.Check reports.
func (r WithdrawRequest) Check() error {
	if strings.TrimSpace(r.By) == "" {
		return Refuse(CodeInvalidRequest, "the withdrawal does not say who decides: set \"by\", as in %s",
			examples[SignalWithdraw])
	}
	return r.Signal().Check()
}

// Signal returns the withdrawal as the signal has it.
func (r WithdrawRequest) Signal() WithdrawSignal {
	return WithdrawSignal(r)
}

const exampleReconnect = `{"renderedVersion":"7","by":"alice"}`

// DeviceAnswer answers a ReconnectRequest or a WithdrawRequest: whether it was accepted, and where the device stands
// after it.
type DeviceAnswer struct {
	Accepted bool   `json:"accepted"`
	Name     string `json:"name"`
	// RestoreID is the restore whose workflow answers.
	RestoreID string `json:"restoreId"`
	State     State  `json:"state"`
	Restored  string `json:"restoredVersion"`
	Reported  string `json:"reportedVersion"`
	// Code and Message say why it was refused; empty where it was accepted.
	Code    Code   `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

// Refusal returns why it was refused; nil where it was accepted.
func (a DeviceAnswer) Refusal() *Refusal {
	if a.Accepted {
		return nil
	}
	return &Refusal{Code: a.Code, Message: a.Message}
}
