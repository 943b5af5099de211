package runbook

// Arrival is what an enrollment request that an agent brings does to the one of its name.
type Arrival string

// The arrivals that count.
const (
	ArrivalNew   Arrival = "New"   // there was none, or one that is over: it begins as a pending one, with nothing of that one's
	ArrivalAgain Arrival = "Again" // it is pending, and goes on being the same one
)

// Arrive tells what a request does that an agent brings; e is the one of its name as it stands, and DeviceExists only where
// the device is not deleted. One that was approved is over once its device is gone: the agent has been told so by a 404, and
// asks to be let in anew. While the device is there the approval stands, and so does a denial in any case: the error is then
// a *Refusal, CodeDeviceExists or CodeAlreadyDenied. It is read by agents, and names nobody.
func Arrive(e Enrollment, name string) (Arrival, error) {
	switch {
	case !e.Exists, e.State == EnrollmentApproved && !e.DeviceExists:
		return ArrivalNew, nil
	case e.State == EnrollmentApproved:
		return "", Refuse(CodeDeviceExists, "enrollment request %s has been approved and its device is there; read the request for its certificate", name)
	case e.State == EnrollmentDenied:
		return "", Refuse(CodeAlreadyDenied, "enrollment request %s has been denied, and the denial stands until an operator deletes the request", name)
	}
	return ArrivalAgain, nil
}

// MayReplaceKey tells whether a pending request may be posted again with another key: not where its name is the hash of the
// key that it has and not of the other. Whoever shares the certificate for enrolling could take a device's place otherwise.
// The error is a *Refusal with CodeKeyChanged.
func MayReplaceKey(name string, pending, other Key) error {
	if pending.Name == name && other.Name != name {
		return Refuse(CodeKeyChanged, "enrollment request %s is pending with the key that its name is the hash of, and cannot be posted with another", name)
	}
	return nil
}
