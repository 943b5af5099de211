// Package faults plays roll calls on real processes, breaks these at random, and checks that nothing was lost.
//
// Agents and operators of two organisations act through the gateway, the command line and signals. Meanwhile
// workers, gateways, PostgreSQL and Temporal are killed, frozen and cut off, the programs at the points of package
// fault. Each call is recorded with its answer. When everything runs again, the record of each device must be one
// that the table of transitions allows, in some order that agrees with the times of the calls (linearizability), and
// internal/invariants must find nothing wrong.
//
// The programs are built with the tag faults. A run is bound to a seed: the same seed makes the same plan, though
// processes meet it at their own pace.
package faults
