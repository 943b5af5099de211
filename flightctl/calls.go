package flightctl

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// resumeTogether is how many devices one call resumes.
const resumeTogether = 500

// Resume asks Flight Control to resume these devices, and returns how many it did. A device that is not ConflictPaused,
// or is not there, is none of them and no error; nor is one whose name Flight Control would not accept, unless no other
// is asked for. requestID is found again in the events of those that were resumed, in the annotation
// event-controller/requestID. After an error the count is of the calls before it.
func (c *Client) Resume(ctx context.Context, orgID string, names []string, requestID string) (resumed int, err error) {
	var possible []string
	var wrong error
	for _, name := range names {
		if err := checkName("resume", name); err != nil {
			wrong = err
			continue
		}
		possible = append(possible, name)
	}
	if len(possible) == 0 {
		return 0, wrong
	}
	for part := range slices.Chunk(possible, resumeTogether) {
		n, err := c.resume(ctx, orgID, part, requestID)
		if err != nil {
			return resumed, err
		}
		resumed += n
	}
	return resumed, nil
}

func (c *Client) resume(ctx context.Context, orgID string, names []string, requestID string) (int, error) {
	op := fmt.Sprintf("resume %d devices", len(names))
	selector := "metadata.name in (" + strings.Join(names, ",") + ")"
	if len(names) == 1 {
		op, selector = "resume "+names[0], "metadata.name="+names[0]
	}
	var answer struct {
		ResumedDevices *int `json:"resumedDevices"`
	}
	err := c.do(ctx, call{
		op: op, method: http.MethodPost, path: "/api/v1/deviceactions/resume", org: orgID, requestID: requestID,
		body: map[string]string{"fieldSelector": selector}, answer: &answer,
	})
	if err != nil {
		return 0, err
	}
	if answer.ResumedDevices == nil {
		return 0, &Error{
			Op: op, Kind: ErrOutcomeUnknown, Code: http.StatusOK,
			Message: "the answer does not say how many were resumed",
		}
	}
	return *answer.ResumedDevices, nil
}

// approval is the body of an approval. Flight Control answers 500 where labels is missing.
type approval struct {
	Approved      bool              `json:"approved"`
	Labels        map[string]string `json:"labels"`
	ReplaceLabels bool              `json:"replaceLabels,omitempty"`
}

// Approve approves an enrollment request. labels win over those of the request, and with replace are all that the
// device gets. A request that was approved before is
// ErrRejected.
func (c *Client) Approve(ctx context.Context, orgID, name string, labels map[string]string, replace bool) error {
	if labels == nil {
		labels = map[string]string{}
	}
	return c.onName(ctx, "approve", name, call{
		method: http.MethodPut, path: "/api/v1/enrollmentrequests/%s/approval", org: orgID,
		body: approval{Approved: true, Labels: labels, ReplaceLabels: replace},
	})
}

// User is the name of the token's user, as it stands in approvedBy of its approvals. It is asked for once for a token.
func (c *Client) User(ctx context.Context, orgID string) (string, error) {
	token, err := c.cfg.Token.Read()
	if err != nil {
		return "", c.notMade("ask who we are", &tokenError{err})
	}
	c.user.mu.Lock()
	defer c.user.mu.Unlock()
	if c.user.name != "" && c.user.token == token {
		return c.user.name, nil
	}
	var answer struct {
		Name string `json:"preferred_username"`
	}
	err = c.do(ctx, call{
		op: "ask who we are", method: http.MethodGet, path: "/api/v1/auth/userinfo", org: orgID,
		answer: &answer,
	})
	if err != nil {
		return "", err
	}
	c.user.name, c.user.token = answer.Name, token
	return answer.Name, nil
}

// DeleteEnrollmentRequest deletes an enrollment request, which is Flight Control's only way to deny one. While the
// request's device exists it is ErrConflict.
func (c *Client) DeleteEnrollmentRequest(ctx context.Context, orgID, name string) error {
	return c.onName(ctx, "delete enrollment request", name, call{
		method: http.MethodDelete, path: "/api/v1/enrollmentrequests/%s", org: orgID,
	})
}

// The targets of Decommission.
const (
	Unenroll     = "Unenroll"
	FactoryReset = "FactoryReset"
)

// Decommission begins to decommission a device. One that is being decommissioned already is ErrConflict.
func (c *Client) Decommission(ctx context.Context, orgID, name, target string) error {
	if target != Unenroll && target != FactoryReset {
		return &Error{
			Op: "decommission " + name, Kind: ErrRejected,
			Message: fmt.Sprintf("target %q is neither %s nor %s", target, Unenroll, FactoryReset),
		}
	}
	return c.onName(ctx, "decommission", name, call{
		method: http.MethodPut, path: "/api/v1/devices/%s/decommission", org: orgID,
		body: map[string]string{"target": target},
	})
}

// onName sends a call whose path has the name of a resource in it.
func (c *Client) onName(ctx context.Context, verb, name string, do call) error {
	if err := checkName(verb, name); err != nil {
		return err
	}
	do.op, do.path = verb+" "+name, fmt.Sprintf(do.path, url.PathEscape(name))
	return c.do(ctx, do)
}

// checkName refuses a name that Flight Control would not accept, since in a selector it could mean other devices.
func checkName(verb, name string) error {
	if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 {
		return &Error{
			Op: fmt.Sprintf("%s %q", verb, name), Kind: ErrRejected,
			Message: "the name is not one that Flight Control has: " + wrong[0],
		}
	}
	return nil
}
