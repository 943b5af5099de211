// Package activities is where a roll call's workflows touch the world: each activity is one repeatable write or one
// read of the inventory. Inputs and results stand above their methods and are on the wire, so a change to a field is a
// change of contract; what a rule decides is runbook's, what a transaction does is inventory's.
package activities
