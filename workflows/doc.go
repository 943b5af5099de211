// Package workflows is the roll call: RestoreWorkflow opens a restore and puts the fleet on its roll, BatchWorkflow
// runs a part of a large roll, DeviceWorkflow waits for one device and, where its version is ahead of the backup, for
// a human. EnrollmentWorkflow waits for a decision about an enrollment request, and ResumeWorkflow carries out a plan.
//
// device.go tells what happens to a device, messages.go what a message does, children.go how children are kept
// running, and policies.go how long and how often an activity is tried. The rules are in package runbook. Every write
// is an activity.
//
// Workflows run for weeks. A change to their commands goes behind workflow.GetVersion, and the histories in testdata
// replay with every change.
package workflows
