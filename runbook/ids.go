package runbook

import (
	"fmt"
	"regexp"
	"strings"
)

// DefaultOrgID is Flight Control's default organisation, and DefaultOrg the word for it in ids and on the command line.
const (
	DefaultOrgID = "00000000-0000-0000-0000-000000000000"
	DefaultOrg   = "default"
)

// OrgName is how an organisation's id is written in workflow ids: "default" for the default one, else the id itself.
func OrgName(orgID string) string {
	if orgID == DefaultOrgID {
		return DefaultOrg
	}
	return orgID
}

// RestoreWorkflowID is the id of a restore's workflow.
func RestoreWorkflowID(restoreID string) string { return "restore/" + restoreID }

// ParseRestoreWorkflowID is the inverse of RestoreWorkflowID; ok is false where id is of another kind, or holds what
// CheckRestoreID refuses, as anyone may give a workflow in Temporal any id.
func ParseRestoreWorkflowID(id string) (restoreID string, ok bool) {
	restoreID, ok = strings.CutPrefix(id, "restore/")
	if !ok || CheckRestoreID(restoreID) != nil {
		return "", false
	}
	return restoreID, true
}

// BatchWorkflowID is the id of the n-th batch of a restore, counted from 0.
func BatchWorkflowID(restoreID string, n int) string {
	return fmt.Sprintf("restore/%s/batch/%d", restoreID, n)
}

// DeviceWorkflowID is the id of a device's workflow; orgID is the organisation's UUID.
func DeviceWorkflowID(orgID, name string) string { return "device/" + OrgName(orgID) + "/" + name }

// ParseDeviceWorkflowID is the inverse of DeviceWorkflowID; ok is false where id is of another kind.
func ParseDeviceWorkflowID(id string) (orgID, name string, ok bool) { return parseID(id, "device/") }

// parseID returns the organisation and the name in the id of a workflow whose kind begins with prefix.
func parseID(id, prefix string) (orgID, name string, ok bool) {
	rest, found := strings.CutPrefix(id, prefix)
	if !found {
		return "", "", false
	}
	orgID, name, found = strings.Cut(rest, "/")
	if !found || orgID == "" || name == "" {
		return "", "", false
	}
	if orgID == DefaultOrg {
		orgID = DefaultOrgID
	}
	return orgID, name, true
}

var restoreID = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// CheckRestoreID reports whether an operator's id for a restore can be used: 1 to 63 letters, digits, '-', '_' and '.',
// beginning and ending with a letter or digit, as in a Kubernetes label value. Otherwise a *Refusal.
func CheckRestoreID(id string) error {
	if !restoreID.MatchString(id) {
		return Refuse(CodeInvalidRequest,
			"restore id %q cannot be used: take 1 to 63 letters, digits, '-', '_' and '.', beginning and ending with a "+
				"letter or digit", id)
	}
	return nil
}
