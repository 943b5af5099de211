package runbook

// Submission says what a posted enrollment request does to the stored request of the same name.
type Submission string

// The submissions that are accepted.
const (
	// no request was stored, or one that is over: the new request is pending and takes nothing from it
	SubmissionNew   Submission = "New"
	SubmissionAgain Submission = "Again" // the stored request is pending, and stays the same request
)

// DecideSubmission decides what a posted request does. e is the stored request of the same name, and e.DeviceExists is
// false for a deleted device. An approved request is over once its device is gone: a 404 has told the agent so, and
// the agent enrolls again. An approval whose device exists stands, and a denial always stands. The error is then a
// *Refusal with CodeDeviceExists or CodeAlreadyDenied. Agents read its message, which names no person.
func DecideSubmission(e Enrollment, name string) (Submission, error) {
	switch {
	case !e.Exists, e.State == EnrollmentApproved && !e.DeviceExists:
		return SubmissionNew, nil
	case e.State == EnrollmentApproved:
		return "", Refuse(CodeDeviceExists,
			"enrollment request %s has been approved and its device is there; read the request for its certificate", name)
	case e.State == EnrollmentDenied:
		return "", Refuse(CodeAlreadyDenied,
			"enrollment request %s has been denied, and the denial stands until an operator deletes the request", name)
	}
	return SubmissionAgain, nil
}

// MayReplaceKey decides whether a pending request may be posted again with another key. It refuses, with
// CodeKeyChanged, where the name is the hash of the pending key and not of the other one. Otherwise anyone with the
// shared bootstrap certificate could take a device's place.
func MayReplaceKey(name string, pending, other Key) error {
	if pending.Name == name && other.Name != name {
		return Refuse(CodeKeyChanged,
			"enrollment request %s is pending with the key that its name is the hash of, and cannot be posted with another",
			name)
	}
	return nil
}
