package agentapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"rollcall/internal/jsonbound"
	"rollcall/inventory"
)

// printedTimes is how many times as long as its limit as text a body may be in the database.
const printedTimes = 4

// readJSON reads a body that is neither too large nor too slow, and is JSON that the database can hold.
func (g *Gateway) readJSON(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := g.readBody(w, r, limit)
	if err != nil {
		return nil, err
	}
	return body, checkJSON(body, limit)
}

// checkJSON refuses a body that is no JSON, or is small as text and large in the database. It lets a NUL through: a NUL
// in a version is for the roll call to refuse, and the database refuses any other.
func checkJSON(body []byte, limit int64) error {
	printed, err := jsonbound.Check(body)
	return storable(printed, err, limit)
}

// storable is what checkJSON makes of what jsonbound says.
func storable(printed int64, err error, limit int64) error {
	switch {
	case errors.Is(err, jsonbound.ErrSyntax):
		return invalid("the body is not a JSON object: %v", err)
	case err != nil && !errors.Is(err, jsonbound.ErrNUL):
		return invalid("the body cannot be stored: %v", err)
	case printed > printedTimes*limit:
		return invalid("the body cannot be stored: it takes more than %d bytes in the database", printedTimes*limit)
	}
	return nil
}

// withDeadline answers requests whose body comes in time. A body that no one reads is read by the server after the
// answer, which must not last for ever either. A request without a body has no deadline, because a poll is held.
func (g *Gateway) withDeadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.cfg.BodyTimeout))
		}
		next.ServeHTTP(w, r)
	})
}

func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		drain(r)
		return nil, tooLarge(limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	switch {
	case isTooLarge(err):
		drain(r)
		return nil, tooLarge(limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, problemf(http.StatusRequestTimeout, "the body did not come within %s", g.cfg.BodyTimeout)
	case err != nil:
		return nil, problemf(http.StatusBadRequest, "the body cannot be read: %v", err)
	}
	return body, nil
}

// isTooLarge reports whether a body was cut off at its limit.
func isTooLarge(err error) bool {
	var tooLarge *http.MaxBytesError
	return errors.As(err, &tooLarge)
}

// drain reads what is left of a body, within bounds, and forgets it. Otherwise a client that is still sending sees that
// the connection is closed, and not the answer. A client that asks before it sends need not send.
func drain(r *http.Request) {
	if r.ContentLength <= maxDrained && r.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, r.Body, maxDrained)
	}
}

func tooLarge(limit int64) *problem {
	return problemf(http.StatusRequestEntityTooLarge, "a body may hold %d bytes", limit)
}

// acknowledged returns a device whose status was stored, as its agent is told of it: without the document that the
// agent has just sent.
func acknowledged(device inventory.Resource) inventory.Resource {
	type part struct {
		Status string `json:"status,omitempty"`
	}
	var stored struct {
		Summary  part   `json:"summary"`
		Updated  part   `json:"updated"`
		LastSeen string `json:"lastSeen,omitempty"`
	}
	_ = json.Unmarshal(device.Status, &stored) // a field of another type tells nothing
	stored.Summary.Status = printable(stored.Summary.Status)
	stored.Updated.Status = printable(stored.Updated.Status)
	device.Spec = nil
	device.Status, _ = json.Marshal(stored)
	return device
}
