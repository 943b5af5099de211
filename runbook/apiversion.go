package runbook

import "strings"

// IsAPIVersion reports whether a document of this apiVersion is one of Flight Control's. Its agents write "v1beta1"
// (1.0 to now) or "v1alpha1" (0.5 to 0.10) without a group, its command line writes the group, and its server accepts
// an empty one. What a roll call needs of a document is alike in all of them.
func IsAPIVersion(version string) bool {
	switch version {
	case "", "v1beta1", "v1alpha1":
		return true
	}
	of, found := strings.CutPrefix(version, "flightctl.io/")
	return found && of != "" && !strings.Contains(of, "/")
}
