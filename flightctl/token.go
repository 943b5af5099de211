package flightctl

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// tokenEnd is when a token ends that was read: it says so itself, or else the file of `flightctl login` does.
func (c *Client) tokenEnd(token string) (time.Time, bool) {
	if end, ok := jwtEnd(token); ok {
		return end, true
	}
	now, err := c.cfg.Token.read()
	if err != nil || now.secret != token {
		return time.Time{}, false // it was renewed meanwhile
	}
	return now.end, !now.end.IsZero()
}

// lastEnd is the last second of the year 9999. A later end of a token is none that can be shown.
const lastEnd = 253_402_300_799

// jwtEnd is when a token ends, where it is a JWT that says so. Its signature is Flight Control's to check.
func jwtEnd(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Exp < 1 || claims.Exp > lastEnd {
		return time.Time{}, false
	}
	return time.Unix(int64(claims.Exp), 0), true
}
