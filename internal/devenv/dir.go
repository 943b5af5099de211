package devenv

// DefaultDir is where starter dev keeps its servers' files, below the folder that it is started in, and where commands
// in that folder look for it.
const DefaultDir = ".rollcall"
