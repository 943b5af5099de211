// Package fake is a Flight Control for tests and for trying things out: its user API, its agents' API, its key-value
// store, its work queue and its renderer, on the same tables as the real one. What it does at each call was read off
// the real one's source, and it is no kinder: a key that is lost strands a device, an event that is not in the queue
// renders nothing, and what dies halfway stays halfway.
//
// It leaves out what a roll call does not meet: fleets' rollouts, TPM, and the periodic service that queues old events
// again after a loss of the store.
package fake
