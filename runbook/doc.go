// Package runbook is what Rollcall knows about a roll call: the states of a device after a restore, the rules that move
// it from one to the next, and the names and payloads by which everybody speaks to the workflows.
//
// It is the middle of the program. Workflows, activities, inventory, gateway, command line and tests all call the same
// functions here, so that a rule stands in one place; it imports nothing of Rollcall's and does no I/O. The rules are
// those of the specification's transition table; each function names the row (T1 to T6) that it carries out.
package runbook
