package runbook

// Step is one accepted entry of the audit, as CheckStep judges it.
type Step struct {
	Transition Transition
	// To is the state that the entry says the device is in afterwards.
	To State
	// Restored and Reported are the versions that were compared, as stored.
	Restored, Reported string
	// Next is the version that a resume renders; empty for other transitions.
	Next string
	// Actor is who acted.
	Actor string
	// Followed reports whether Flight Control moved the device and the roll only followed. Its own parser
	// decided then, and it does not say who resumed a device. A restore that stands alone follows no one.
	Followed bool
	// Beside reports whether the restore runs beside Flight Control: its parser compares versions and its renderer counts
	// them, so only the states and the person count here.
	Beside bool
	// Human reports whether Actor is a person and not a service.
	Human bool
}

// CheckStep checks one entry of a device's audit against the table of transitions. from is the state before it;
// empty means that the device is not on the roll yet. It returns what is wrong in a sentence, or an empty string.
// Entries that move no device (Approved, Denied, Deleted, Acted, Refused) are always right.
func CheckStep(from State, s Step) string {
	switch s.Transition {
	case Approved, Denied, Deleted, Acted, Refused:
		return ""
	case T1:
		return wrongUnless(s.To == StateAwaitingReconnect, "T1 leads to "+string(s.To)+", not to AwaitingReconnect")
	case T2, T3:
		return checkReport(from, s)
	case Reported:
		return wrongUnless(from.Open() && s.To == StateConflictPaused,
			"a paused device's report leads from "+named(from)+" to "+string(s.To))
	case Decided, Dropped, Repaired:
		return checkDecision(from, s)
	case T4:
		return checkResume(from, s)
	case T5:
		return wrongUnless(from.Open() && s.To == StateWithdrawn, "T5 leads from "+named(from)+" to "+string(s.To))
	default:
		return "transition " + string(s.Transition) + " is not in the table"
	}
}

// checkReport checks T2 and T3. Flight Control's parser decides on what it reports itself, so only the states count.
func checkReport(from State, s Step) string {
	want := StateNormal
	if s.Transition == T3 {
		want = StateConflictPaused
	}
	if from != StateAwaitingReconnect || s.To != want {
		return string(s.Transition) + " leads from " + named(from) + " to " + string(s.To)
	}
	switch {
	case s.Beside:
		return ""
	case s.Followed:
		return followsNoOne(s)
	}
	d, err := DecideReconnect(s.Restored, s.Reported)
	if err != nil {
		return string(s.Transition) + " by the version " + quoteShort(s.Reported) + ", which cannot be read"
	}
	return wrongUnless(d.Transition == s.Transition, string(s.Transition)+" although the device reported version "+
		OrZero(s.Reported)+" and was restored at "+quoteShort(s.Restored)+", which is "+string(d.Transition))
}

// checkResume checks T4: one accepted decision of a person, and a version that the device must accept.
func checkResume(from State, s Step) string {
	switch {
	case from != StateConflictPaused || s.To != StateNormal:
		return "T4 leads from " + named(from) + " to " + string(s.To)
	case s.Followed && s.Beside:
		return ""
	case s.Followed:
		return followsNoOne(s)
	case !s.Human:
		return "T4 without a person who decided"
	case s.Beside:
		return ""
	}
	next, err := NextVersion(s.Restored, s.Reported)
	return wrongUnless(err == nil && s.Next == next.String(), "T4 renders version "+OrZero(s.Next)+
		" for a device that reported "+OrZero(s.Reported)+" and was restored at "+quoteShort(s.Restored))
}

// checkDecision checks the entries of a resume that Flight Control carries out: the device stays paused until it has.
// One that waits is repaired where it was released and not rendered.
func checkDecision(from State, s Step) string {
	released := s.Transition == Repaired && from == StateAwaitingReconnect // and not rendered
	switch {
	case s.To != from || from != StateConflictPaused && !released:
		return string(s.Transition) + " leads from " + named(from) + " to " + string(s.To)
	case !s.Beside:
		return string(s.Transition) + " in a restore that does not run beside Flight Control"
	}
	return wrongUnless(s.Transition != Decided || s.Human, "Decided without a person who decided")
}

func followsNoOne(s Step) string {
	return string(s.Transition) + " by another hand in a restore that does not run beside Flight Control"
}

func wrongUnless(right bool, text string) string {
	if right {
		return ""
	}
	return text
}

func named(s State) string {
	if s == "" {
		return "no roll"
	}
	return string(s)
}
