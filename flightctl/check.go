package flightctl

import (
	"cmp"
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
// its key-value store. orgs are the organisations that a roll call is about; without any it is the configured one, or
// else all that the token's user has.
func (c *Client) Check(ctx context.Context, orgs ...string) []Finding {
	return append(c.checkAPI(ctx, orgs...), c.checkStore(ctx)...)
}

func (c *Client) checkAPI(ctx context.Context, orgs ...string) []Finding {
	found := c.checkVersion(ctx)
	if found[0].Level == Failed {
		return found
	}
	found = append(found, c.checkRights(ctx, orgs)...)
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
	case errors.Is(err, ErrNoToken), errors.Is(err, ErrUnauthorized):
		f.Advice = c.tokenAdvice(err)
	case errors.Is(err, ErrTooManyRequests):
		f.Level, f.Advice = Warning, "wait a minute; if it stays, other clients behind this address use up the limit"
	case errors.Is(err, ErrOutcomeUnknown):
		f.Advice = "look at the log of flightctl-api"
	}
	return f
}

// tokenAdvice says what to do about a token that is missing or not accepted, and where it comes from.
func (c *Client) tokenAdvice(err error) string {
	switch from := c.cfg.Token.from(); {
	case from == "":
		return "set " + EnvTokenFile + " to a file with a token, or " + EnvConfig +
			" to the file that `flightctl login` wrote"
	case errors.Is(err, ErrNoToken):
		return "see that the token can be read: " + from
	case c.cfg.Token.variable == EnvConfig:
		return "run `flightctl login` again; the token is that of " + from
	default:
		return "renew the token of " + from + ", or run `flightctl login` and set " + EnvConfig + " to the file that it wrote"
	}
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

// mostOrganizations is in how many organisations our rights are asked for, as requests are paced.
const mostOrganizations = 20

// checkRights asks for our rights in each organisation: each call of a roll call names one.
func (c *Client) checkRights(ctx context.Context, orgs []string) []Finding {
	if len(orgs) == 0 {
		found, about := c.checkRightsIn(ctx, "")
		if about != aboutNone {
			return []Finding{found}
		}
		var err error
		if orgs, err = c.organizations(ctx); err != nil {
			return []Finding{c.apiFailure(err)}
		}
	}
	var found []Finding
	for _, org := range orgs[:min(len(orgs), mostOrganizations)] {
		f, about := c.checkRightsIn(ctx, org)
		switch {
		case about != aboutOne:
			return []Finding{f}
		case f.Level != OK:
			f.Text = "organisation " + org + ": " + f.Text
			found = append(found, f)
		}
	}
	if len(found) > 0 {
		return found
	}
	f := rightsFinding(nil)
	switch {
	case len(orgs) > mostOrganizations:
		f.Text += fmt.Sprintf(" in the %d organisations that were looked at, of %d", mostOrganizations, len(orgs))
	case len(orgs) > 1:
		f.Text += fmt.Sprintf(" in each of %d organisations", len(orgs))
	}
	return []Finding{f}
}

// organizations are those of the token's user.
func (c *Client) organizations(ctx context.Context) ([]string, error) {
	var answer struct {
		Items []struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
		} `json:"items"`
	}
	err := c.do(ctx, call{
		op: "ask for our organisations", method: http.MethodGet, path: "/api/v1/organizations", answer: &answer,
	})
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(answer.Items))
	for i, item := range answer.Items {
		ids[i] = item.Metadata.Name
	}
	return ids, nil
}

// about is what a finding of our rights is about.
type about int

const (
	aboutAll  about = iota // every organisation
	aboutOne               // the one that was asked for; another could be found otherwise
	aboutNone              // an organisation has to be named
)

// checkRightsIn asks for our rights in one organisation.
func (c *Client) checkRightsIn(ctx context.Context, org string) (Finding, about) {
	var answer permissions
	err := c.do(ctx, call{
		op: "ask for our rights", method: http.MethodGet, path: "/api/v1/auth/permissions", org: org, answer: &answer,
	})
	var refused *Error
	switch {
	case errors.As(err, &refused) && refused.Code == http.StatusTeapot:
		return Finding{
			Subject: SubjectAPI, Level: Warning, Text: "authentication is switched off: everybody may do everything",
			Advice: "configure authentication in Flight Control before agents are let back",
		}, aboutAll
	case errors.Is(err, ErrNotFound):
		return Finding{
			Subject: SubjectAPI, Level: Warning, Text: "this release does not say what we may do",
			Advice: "see that the token's user has the role flightctl-admin",
		}, aboutAll
	case errors.Is(err, ErrForbidden):
		return Finding{
			Subject: SubjectAPI, Level: Failed, Text: err.Error(),
			Advice: "make the token's user a member of the organisation that is restored, or, where none of its devices is " +
				"there yet, set " + EnvOrganization + " to it",
		}, aboutOne
	case errors.Is(err, ErrRejected) && org == "":
		return c.apiFailure(err), aboutNone
	case err != nil:
		return c.apiFailure(err), aboutAll
	}
	var missing []string
	for _, r := range rights {
		if !answer.allow(r) {
			missing = append(missing, fmt.Sprintf("%s (%s of %s)", r.purpose, r.operation, r.resource))
		}
	}
	return rightsFinding(missing), aboutOne
}

func rightsFinding(missing []string) Finding {
	if len(missing) == 0 {
		return Finding{
			Subject: SubjectAPI, Level: OK, Text: "the token's user may do all that a roll call needs",
		}
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
	end, known := c.tokenEnd(token)
	left := end.Sub(c.cfg.Clock.Now())
	if !known || left <= 0 || left > expiresSoon {
		return nil
	}
	return []Finding{{
		Subject: SubjectAPI, Level: Warning,
		Text:   fmt.Sprintf("the token ends in %s, at %s", left.Round(time.Second), end.UTC().Format(time.RFC3339)),
		Advice: "renew it before: it comes from " + cmp.Or(c.cfg.Token.from(), "the configuration"),
	}}
}
