package runbook

import "time"

// DefaultWatchInterval is how often a restore's inventory watch looks at the database, and MinWatchInterval the least
// that may be asked for: each look reads the whole roll.
const (
	DefaultWatchInterval = 10 * time.Second
	MinWatchInterval     = 100 * time.Millisecond
)

// ParseWatchInterval reads RestoreInput.WatchInterval: a duration such as "30s". Empty is DefaultWatchInterval, zero
// is no watch. Anything else is a *Refusal with CodeInvalidRequest.
func ParseWatchInterval(s string) (time.Duration, error) {
	if s == "" {
		return DefaultWatchInterval, nil
	}
	every, err := time.ParseDuration(s)
	if err != nil || every < 0 || (every > 0 && every < MinWatchInterval) {
		return 0, Refuse(CodeInvalidRequest,
			"watch interval %s cannot be used: take a duration of at least %s, such as \"30s\", or \"0\" for no watch",
			quoteShort(s), MinWatchInterval)
	}
	return every, nil
}
