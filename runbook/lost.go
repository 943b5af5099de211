package runbook

// LostOutcome says that a device's workflow had ended, while the database, put back to an earlier moment, still waits
// for the device. The database's state stands.
func LostOutcome(result DeviceResult, state State) *Refusal {
	return Refuse(CodeLost,
		"the device had left the roll call as %s with reported version %s%s, and the database does not know it any more; "+
			"the device is %s again: have it report, and decide again where that is needed", result.Outcome,
		OrZero(result.Reported), byWhom(result.By), state)
}

// LostState says that a device's workflow was further than the database, which was put back to an earlier moment.
func LostState(had State, reported string, state State) *Refusal {
	return Refuse(CodeLost,
		"the device was %s with reported version %s, and the database does not know it any more; the device was found %s",
		had, OrZero(reported), state)
}
