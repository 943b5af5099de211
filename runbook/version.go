package runbook

import (
	"fmt"
	"math"
	"strconv"
)

// Version is the number of a rendered device spec. It counts up by one with every rendering and never goes down on the
// service's side; versions compare as numbers, so that 10 is newer than 9.
type Version int64

// MaxVersion is the highest version there can be; nothing can be rendered past it.
const MaxVersion = Version(math.MaxInt64)

// ParseVersion reads a version as a device reports it: decimal digits without sign, space or leading zero, at most
// 64 bits. An empty string is version 0, as a device that never got a spec reports it. Anything else is a *Refusal with
// CodeInvalidVersion whose message quotes the input.
func ParseVersion(s string) (Version, error) {
	if s == "" {
		return 0, nil
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, invalidVersion(s, "it may hold the digits 0 to 9 only")
		}
	}
	if len(s) > 1 && s[0] == '0' {
		return 0, invalidVersion(s, "it has a leading zero")
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, invalidVersion(s, fmt.Sprintf("it is above the highest version, %d", MaxVersion))
	}
	return Version(n), nil
}

func invalidVersion(s, why string) *Refusal {
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return Refuse(CodeInvalidVersion,
		"rendered version %q is not a version: %s; report the number the device runs, such as \"7\"", s, why)
}

// String is the version in decimal, the form in which it is stored and sent.
func (v Version) String() string { return strconv.FormatInt(int64(v), 10) }

// NextVersion is the version that a resume renders (T4): one past the newer of what the service restored and what the
// device runs, so that the device accepts it. An unreadable restored version counts as 0. An unreadable reported
// version, or no version left above, is a *Refusal (CodeInvalidVersion, CodeVersionExhausted).
func NextVersion(restored, reported string) (Version, error) {
	rep, err := ParseVersion(reported)
	if err != nil {
		return 0, err
	}
	if res, err := ParseVersion(restored); err == nil && res > rep {
		rep = res
	}
	if rep == MaxVersion {
		return 0, Refuse(CodeVersionExhausted,
			"version %s is the highest there is, none can be rendered past it; re-enroll the device", rep)
	}
	return rep + 1, nil
}
