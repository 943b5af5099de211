package flightctl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// What is known after a call that failed. Find out with errors.Is; errors.As finds the *Error with its details.
var (
	// ErrUnauthorized is a 401: the token is not accepted. ErrTokenExpired is one, too.
	ErrUnauthorized = errors.New("token not accepted")
	// ErrTokenExpired is a 401 for a token whose end has passed.
	ErrTokenExpired = errors.New("token expired")
	// ErrNoToken means that there is no token, or that its file cannot be read. It is an ErrUnauthorized, too.
	ErrNoToken = errors.New("no token")
	// ErrForbidden is a 403: the token's user may not do this, or is no member of the organisation.
	ErrForbidden = errors.New("not allowed")
	// ErrNotFound is a 404.
	ErrNotFound = errors.New("not found")
	// ErrConflict is a 409.
	ErrConflict = errors.New("conflict")
	// ErrRejected is any other refusal of the request, such as a 400.
	ErrRejected = errors.New("rejected")
	// ErrTooManyRequests is a 429, or a call that was not sent because of one. Nothing was done.
	ErrTooManyRequests = errors.New("too many requests")
	// ErrUnreachable means that no connection came about. Nothing was done.
	ErrUnreachable = errors.New("not reachable")
	// ErrOutcomeUnknown is a 5xx, a broken connection or no answer in time: it may have been done all the same.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrStore is a failure of the key-value store. Each write to it may be repeated.
	ErrStore = errors.New("key-value store")
)

// Error is a call of the API that failed.
type Error struct {
	// Op is what was tried, such as "approve web-7".
	Op string
	// Kind is one of the package's errors above.
	Kind error
	// Code is the HTTP status, or 0 without one.
	Code int
	// Message is what Flight Control said, or what went wrong on the way to it.
	Message string
	// RetryAfter is how long to wait, with ErrTooManyRequests.
	RetryAfter time.Duration

	// token is where the token comes from, where that is known and matters.
	token string
	cause error
}

// Error says what was tried, what came of it, and what to do.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: Flight Control: %v", e.Op, e.Kind)
	if e.Code != 0 {
		text += fmt.Sprintf(" (%d)", e.Code)
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if advice := e.advice(); advice != "" {
		text += "; " + advice
	}
	return text
}

func (e *Error) advice() string {
	switch {
	case errors.Is(e, ErrNoToken) && e.token != "":
		return "see what is wrong with " + e.token
	case errors.Is(e, ErrNoToken):
		return "set " + EnvTokenFile + " to a file with a token, or " + EnvConfig + " to the file of `flightctl login`"
	case errors.Is(e, ErrUnauthorized) && e.token != "":
		return "run `flightctl login` again or renew the token of " + e.token + "; no restart is needed"
	case errors.Is(e, ErrUnauthorized):
		return "run `flightctl login` again or renew the token's file; no restart is needed"
	case errors.Is(e, ErrForbidden):
		return "the token's user needs the role flightctl-admin, or to be an admin of the organisation"
	case errors.Is(e, ErrTooManyRequests):
		return "try again " + soon(e.RetryAfter)
	case errors.Is(e, ErrOutcomeUnknown):
		return "it may have been done all the same, so look before you repeat it"
	case errors.Is(e, ErrUnreachable):
		return "nothing was done"
	}
	return ""
}

// soon is when it is after so long.
func soon(d time.Duration) string {
	if d < time.Second {
		return "in a moment"
	}
	return "in " + d.Round(time.Second).String()
}

// Is reports whether target is the error's kind. An expired token is an unauthorized one, and so is none.
func (e *Error) Is(target error) bool {
	return target == e.Kind || (target == ErrUnauthorized && (e.Kind == ErrTokenExpired || e.Kind == ErrNoToken))
}

// Refused reports whether Flight Control has answered that it does not do this, so that a repetition gets the same
// answer. A name that it cannot have is refused as well.
func (e *Error) Refused() bool {
	answered := errors.Is(e, ErrForbidden) || errors.Is(e, ErrNotFound) || errors.Is(e, ErrConflict)
	return answered || errors.Is(e, ErrRejected) && e.cause == nil
}

// FailsAlways reports whether any other call would have failed as well, whatever it was about. Nothing was done, and
// the call may be repeated as it is.
func (e *Error) FailsAlways() bool {
	for _, kind := range []error{ErrUnauthorized, ErrForbidden, ErrTooManyRequests, ErrUnreachable} {
		if errors.Is(e, kind) {
			return true
		}
	}
	return false
}

// Unwrap returns what went wrong below, such as a context's error.
func (e *Error) Unwrap() error { return e.cause }

// notAnswered is the error of a request that got no answer.
func notAnswered(op string, err error) *Error {
	kind := ErrOutcomeUnknown
	var dial *net.OpError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial", errors.As(err, &verify), errors.As(err, &record):
		kind = ErrUnreachable
	}
	return &Error{Op: op, Kind: kind, Message: reason(err), cause: err}
}

// reason is the innermost part of err that helps, without the URL.
func reason(err error) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(err, &unknown):
		return fmt.Sprintf("its certificate comes from an unknown authority; set %s", EnvCAFile)
	case errors.As(err, &host):
		return fmt.Sprintf("its certificate is for another name (%v); set %s", host, EnvTLSServerName)
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	var network *net.OpError
	if errors.As(err, &network) {
		return network.Error()
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}
