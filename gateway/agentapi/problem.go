package agentapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"rollcall/inventory"
	"rollcall/runbook"
)

// retryAfter is when an agent may try again what could not be done. On polls it goes by its own back-off.
const retryAfter = 5 * time.Second

// problem is an answer that is no success, as an agent is told it.
type problem struct {
	code    int
	message string
	// cause is for the log.
	cause error
	// after is when the agent may try again; 0 is retryAfter.
	after time.Duration
	// absent marks the answer of noDevice.
	absent bool
}

// Error is what the agent is told, and why.
func (p *problem) Error() string {
	if p.cause != nil {
		return fmt.Sprintf("%s: %v", p.message, p.cause)
	}
	return p.message
}

// Unwrap is the cause.
func (p *problem) Unwrap() error { return p.cause }

func problemf(code int, format string, args ...any) *problem {
	return &problem{code: code, message: fmt.Sprintf(format, args...)}
}

// The words by which an agent takes a 404 on its poll for the absence of its device. It looks for both in the whole
// answer, throws its certificate away, and enrolls again. A device that was approved after the backup comes back by
// them alone.
const absentDevice, absentFound = "Device of name", "not found"

// noDevice is the one 404 about a device: the database has said that it is not there. No other answer has its words.
func noDevice(name string) *problem {
	p := problemf(http.StatusNotFound, "%s %q %s", absentDevice, name, absentFound)
	p.absent = true
	return p
}

// besideFlightControl is the answer of a gateway that must not write: the newest restore is one beside a live Flight
// Control, whose own API server answers the agents. It is no 404, and no answer that tells an agent anything of its
// device.
func besideFlightControl() *problem {
	return problemf(http.StatusServiceUnavailable,
		"the newest restore of this organisation is one beside Flight Control, whose API server answers the agents; point "+
			"the agents there and stop this gateway")
}

// asProblem finds what an agent is told of err. What no one has foreseen is a failure of ours that may pass: a 503.
func asProblem(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	if refusal := runbook.AsRefusal(err); refusal != nil {
		return &problem{code: http.StatusBadRequest, message: refusal.Message}
	}
	return &problem{code: http.StatusServiceUnavailable, message: "the service cannot answer now; try again", cause: err}
}

// status is Flight Control's object for an error.
type status struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Status     string `json:"status"`
	Code       int    `json:"code"`
	Reason     string `json:"reason"`
	Message    string `json:"message"`
}

func (p *problem) write(w http.ResponseWriter) {
	switch p.code {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(cmp.Or(p.after, retryAfter).Seconds()))))
	}
	writeJSON(w, p.code, status{
		APIVersion: inventory.APIVersion, Kind: "Status", Status: "Failure",
		Code: p.code, Reason: http.StatusText(p.code), Message: p.said(),
	})
}

// said is the message. One that quotes the words of noDevice back at whoever sent them loses them.
func (p *problem) said() string {
	if p.absent {
		return p.message
	}
	return strings.ReplaceAll(p.message, absentDevice, "device of name")
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		// Only a stored document that is no JSON could do this, and PostgreSQL holds none.
		code, text = http.StatusServiceUnavailable, []byte(`{}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(text) // the agent has gone where this fails, and asks again
}

// serverLog takes what net/http says of connections. A scanner or an agent with an old certificate must not fill the
// log.
func serverLog(logger *slog.Logger) *log.Logger {
	return slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
}
