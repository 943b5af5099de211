package printer

// Exit codes that scripts rely on.
const (
	ExitOK         = 0
	ExitFailed     = 1 // could not be done
	ExitUsage      = 2 // the command line cannot be understood
	ExitNothing    = 3 // resume, approve, deny, withdraw, reconnect, plan, diff: nothing matched, or nothing to do
	ExitRefusals   = 4 // resume, approve, deny, withdraw, reconnect: some were refused; a plan: some were not resumed
	ExitViolations = 5 // fsck: something is wrong
	// ExitInterrupted says that of some it is not known what became of them, or that they were not asked.
	ExitInterrupted = 6 // resume, approve, deny, withdraw, reconnect: interrupted before all had answered
	// ExitHuman ends a wait that was told to end then.
	ExitHuman = 7 // status, restore --until-human: a human is needed
)
