// Package host is a process that works for Rollcall: it connects to Temporal and to the inventory, registers workflows
// and activities, serves metrics and health, and stops gracefully. The worker binary is this and nothing else, and
// starter dev runs the same inside itself.
package host
