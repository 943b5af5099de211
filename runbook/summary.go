package runbook

// Texts of status.summary.info, in Flight Control's words, which its users and its web console know.
const (
	// InfoAwaitingReconnect stands with AwaitingReconnect (T1).
	InfoAwaitingReconnect = "Device has not reconnected since restore to confirm its current state."
	// InfoUpToDate stands with Online after T2.
	InfoUpToDate = "Device is up to date"

	infoConflictPaused = "Device reconciliation is paused due to a state conflict between the service and the " +
		"device's agent; " +
		"manual intervention is required."
)

// ConflictPausedInfo is the text of status.summary.info that stands with ConflictPaused (T3): Flight Control's, with
// both versions. It holds also when a paused device reports again, whatever it reports.
func ConflictPausedInfo(restored, reported string) string {
	known, err := ParseVersion(restored)
	if err != nil {
		return infoConflictPaused + " (device reported version " + quoteShort(reported) +
			", and the device version known to service, " + quoteShort(restored) + ", cannot be read)"
	}
	ours := known.String()
	if version, err := ParseVersion(reported); err == nil && version > known {
		return infoConflictPaused + " (device reported version " + version.String() + " > device version known to service " +
			ours + ")"
	}
	return infoConflictPaused + " (device reported version " + quoteShort(reported) +
		", device version known to service " + ours + ")"
}
