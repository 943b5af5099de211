package flightctl

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Level is how bad a Finding is.
type Level string

// The levels of findings.
const (
	OK      Level = "ok"      // as it should be
	Warning Level = "warning" // works, and may not go on to
	Failed  Level = "failed"  // a roll call beside this Flight Control would stop
)

// The subjects of findings.
const (
	SubjectAPI   = "Flight Control API"
	SubjectStore = "key-value store"
)

// Finding is one thing that Check looked at.
type Finding struct {
	Subject string `json:"subject"`
	Level   Level  `json:"level"`
	// Text says what was found.
	Text string `json:"text"`
	// Advice says what to do; empty where nothing needs to be done.
	Advice string `json:"advice,omitempty"`
	// Version is that of what was found, where it says one.
	Version string `json:"version,omitempty"`
}

// expiresSoon is when a token's end is worth a warning.
const expiresSoon = time.Hour

// right is a permission that a roll call needs, and for what.
type right struct{ resource, operation, purpose string }

var rights = []right{
	{"devices/resume", "update", "resume devices"},
	{"devices/decommission", "update", "withdraw with --decommission"},
	{"enrollmentrequests/approval", "update", "approve enrollment requests"},
	{"enrollmentrequests", "delete", "deny with --delete"},
	{"devices", "delete", "clear up after an approval that broke off"},
}

// Check looks whether Flight Control can be reached, what its version is and what we may do there, at its API and at
// its key-value store.
func (c *Client) Check(ctx context.Context) []Finding {
	return append(c.checkAPI(ctx), c.checkStore(ctx)...)
}

func (c *Client) checkAPI(ctx context.Context) []Finding {
	found := c.checkVersion(ctx)
	if found[0].Level == Failed {
		return found
	}
	found = append(found, c.checkRights(ctx)...)
	found = append(found, c.checkToken()...)
	if c.cfg.InsecureSkipVerify {
		found = append(found, Finding{
			Subject: SubjectAPI, Level: Warning, Text: "the server's certificate is not verified (insecureSkipVerify)",
			Advice: "log in with --certificate-authority, or set " + EnvCAFile,
		})
	}
	return found
}

func (c *Client) checkVersion(ctx context.Context) []Finding {
	var answer struct {
		Version string `json:"version"`
	}
	if err := c.do(ctx,
		call{op: "ask for the version", method: http.MethodGet, path: "/api/version", answer: &answer}); err != nil {
		return []Finding{c.apiFailure(err)}
	}
	if answer.Version == "" {
		return []Finding{{
			Subject: SubjectAPI, Level: Failed, Text: c.cfg.Server + " answers, and not as Flight Control does",
			Advice: "set " + EnvServer + " to the URL of Flight Control's API server, without a path",
		}}
	}
	return []Finding{{Subject: SubjectAPI, Level: OK, Text: c.cfg.Server + " answers", Version: answer.Version}}
}

func (c *Client) apiFailure(err error) Finding {
	f := Finding{Subject: SubjectAPI, Level: Failed, Text: err.Error()}
	switch {
	case errors.Is(err, ErrUnreachable):
		f.Advice = "see whether the server runs, and whether " + EnvServer + " and " + EnvCAFile + " are right"
	case errors.Is(err, ErrUnauthorized):
		f.Advice = "run `flightctl login` again, or set " + EnvTokenFile + " to a file with a token that is valid"
	case errors.Is(err, ErrRejected) && !c.cfg.Token.IsSet():
		f.Advice = "there is no token: set " + EnvTokenFile + ", or " + EnvConfig + " to the file of `flightctl login`"
	case errors.Is(err, ErrRejected):
		f.Advice = "if the token's user has several organisations, set " + EnvOrganization + " to the one that is restored"
	case errors.Is(err, ErrTooManyRequests):
		f.Level, f.Advice = Warning, "wait a minute; if it stays, other clients behind this address use up the limit"
	case errors.Is(err, ErrOutcomeUnknown):
		f.Advice = "look at the log of flightctl-api"
	}
	return f
}

// permissions is what Flight Control says the token's user may do.
type permissions struct {
	Permissions []struct {
		Resource   string   `json:"resource"`
		Operations []string `json:"operations"`
	} `json:"permissions"`
}

// allow reports whether they contain a right. An entry for the resource itself counts before one for all.
func (p permissions) allow(r right) bool {
	all := false
	for _, entry := range p.Permissions {
		may := slices.Contains(entry.Operations, "*") || slices.Contains(entry.Operations, r.operation)
		switch entry.Resource {
		case r.resource:
			return may
		case "*":
			all = all || may
		}
	}
	return all
}

func (c *Client) checkRights(ctx context.Context) []Finding {
	var answer permissions
	err := c.do(ctx,
		call{op: "ask for our rights", method: http.MethodGet, path: "/api/v1/auth/permissions", answer: &answer})
	var refused *Error
	switch {
	case errors.As(err, &refused) && refused.Code == http.StatusTeapot:
		return []Finding{{
			Subject: SubjectAPI, Level: Warning, Text: "authentication is switched off: everybody may do everything",
			Advice: "configure authentication in Flight Control before agents are let back",
		}}
	case errors.Is(err, ErrNotFound):
		return []Finding{{
			Subject: SubjectAPI, Level: Warning, Text: "this release does not say what we may do",
			Advice: "see that the token's user has the role flightctl-admin",
		}}
	case errors.Is(err, ErrForbidden):
		return []Finding{{
			Subject: SubjectAPI, Level: Failed, Text: err.Error(),
			Advice: "set " + EnvOrganization + " to an organisation that the token's user is a member of",
		}}
	case err != nil:
		return []Finding{c.apiFailure(err)}
	}
	var missing []string
	for _, r := range rights {
		if !answer.allow(r) {
			missing = append(missing, fmt.Sprintf("%s (%s of %s)", r.purpose, r.operation, r.resource))
		}
	}
	return []Finding{rightsFinding(missing)}
}

func rightsFinding(missing []string) Finding {
	if len(missing) == 0 {
		return Finding{Subject: SubjectAPI, Level: OK, Text: "the token's user may do all that a roll call needs"}
	}
	return Finding{
		Subject: SubjectAPI, Level: Failed, Text: "the token's user may not " + strings.Join(missing, ", nor "),
		Advice: "give the user the role flightctl-admin, or make it an admin of the organisation",
	}
}

// checkToken warns of a token that ends soon. One that has ended was reported by the server already.
func (c *Client) checkToken() []Finding {
	token, err := c.cfg.Token.Read()
	if err != nil {
		return nil // the calls before have failed with it
	}
	end, known := tokenEnd(token)
	left := end.Sub(c.cfg.Clock.Now())
	if !known || left <= 0 || left > expiresSoon {
		return nil
	}
	return []Finding{{
		Subject: SubjectAPI, Level: Warning,
		Text:   fmt.Sprintf("the token ends in %s, at %s", left.Round(time.Second), end.UTC().Format(time.RFC3339)),
		Advice: "renew its file before; no restart is needed",
	}}
}
