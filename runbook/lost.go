package runbook

import "strings"

// LostOutcome says that a device had left the roll call, and that the database, which was put back to an earlier
// moment, does not know it. The database's state stands: now, which is empty where the device is on no roll.
func LostOutcome(result DeviceResult, now State) *Refusal {
	then := "the device is " + string(now) + " again: have it report, and decide again where that is needed"
	switch {
	case now == "":
		then = "the device is not on the roll"
	case !now.Open():
		then = "the device has left it again as " + string(now)
	}
	return Refuse(CodeLost,
		"the device had left the roll call as %s with reported version %s%s, and the database does not know it any more; %s",
		result.Outcome, OrZero(result.Reported), byWhom(result.By), then)
}

// LostResume says that a device has taken a decision of a plan, and that the database, which was put back to an earlier
// moment, does not know it.
func LostResume() *Refusal {
	return Refuse(CodeLost,
		"the device was resumed, and the database does not know it any more: look where it stands, and decide again")
}

// LostPlace says that a device's workflow waited for a device that the database, which was put back to an earlier
// moment, does not have on the roll any more.
func LostPlace(had State, reported, restoreID string) *Refusal {
	return Refuse(CodeLost,
		"the device was %s with reported version %s, and the database does not have it on the roll of restore %s any more; "+
			"no workflow waits for it", had, OrZero(reported), restoreID)
}

// LostDecision says that an enrollment request was decided, and that the database, which was put back to an earlier
// moment, does not know it. Where the request stands in the database, it stands.
func LostDecision(d EnrollmentDecision) *Refusal {
	return Refuse(CodeLost,
		"the enrollment request was %s%s, and the database does not know it any more: decide again if it is pending",
		strings.ToLower(string(d.State)), byWhom(d.By))
}

// LostEnd says that a restore had ended, while the database, put back to an earlier moment, holds it open.
func LostEnd(restoreID string, ended RestoreState) *Refusal {
	return Refuse(CodeLost, "restore %s was %s, and the database does not know it any more; it runs again", restoreID,
		strings.ToLower(string(ended)))
}

// LostState says that a device's workflow was further than the database, which was put back to an earlier moment.
func LostState(had State, reported string, state State) *Refusal {
	return Refuse(CodeLost,
		"the device was %s with reported version %s, and the database does not know it any more; the device was found %s",
		had, OrZero(reported), state)
}
