package runbook

import "strconv"

// Mode says who answers a restore's agents and renders their specs. A restore has the mode of the worker that opened
// it.
type Mode string

// The modes of a restore, as they are stored and shown.
const (
	// ModeStandalone is a restore whose agents our gateway answers.
	ModeStandalone Mode = "standalone"
	// ModeFlightctl is a restore beside a live Flight Control: its API server answers the agents and decides T2 and T3,
	// and its worker renders.
	ModeFlightctl Mode = "flightctl"
)

// FlightctlVersion reads a version that a device has reported to Flight Control as Flight Control does: a sign and
// leading zeros are allowed, and missing is 0. What it cannot read it takes for 0; readable is false then. The result
// is in the stored form, and what is below 0 is 0.
func FlightctlVersion(reported string) (version string, readable bool) {
	if reported == "" {
		return "0", true
	}
	n, err := strconv.ParseInt(reported, 10, 64)
	if err != nil {
		return "0", false
	}
	return strconv.FormatInt(max(n, 0), 10), true
}
