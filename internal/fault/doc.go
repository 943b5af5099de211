// Package fault names the points at which the fault harness (internal/faults) can end, freeze or delay a process. A
// build without the tag faults has none of them: At is an empty function there, which the compiler leaves out.
package fault

// The points in the database's transactions. Those of calls to Temporal are named after the call: see host.Dial.
const (
	BeforeCommit = "commit.before"
	AfterCommit  = "commit.after"
	// A statement that carries out transitions is a transaction of its own.
	BeforeTransitions = "transitions.before"
	AfterTransitions  = "transitions.after"
	BeforeNote        = "note.before"
	AfterNote         = "note.after"
)

// The variables that a build with the tag faults reads. Env says what happens at which point: "commit.after#3:kill"
// ends the process when it is there for the third time. "stop" freezes it, and "delay=200ms" holds it up at each time
// from that one on. Several are separated by commas. EnvBug names a planted bug, which the harness must find.
const (
	Env    = "FAULTS_PLAN"
	EnvBug = "FAULTS_BUG"
)
