// Package workflows is the roll call itself: RestoreWorkflow opens a restore and puts the fleet on its roll, BatchWorkflow
// holds a part of a large one, and DeviceWorkflow waits for one device and, where the fleet is ahead of the backup, for a
// human.
//
// A question of what happens to a device is answered in device.go, what a message may do in messages.go, how children are
// kept in roster.go, and how long and how often anything is tried in policies.go. Rules are runbook's; every write is an
// activity. Workflows run for weeks: a change to the commands that they issue goes behind workflow.GetVersion, and the
// histories under testdata prove that it does.
package workflows
