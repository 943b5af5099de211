// Package faults plays roll calls on real processes, breaks these at random, and checks that nothing was lost.
//
// Agents and operators of two organisations act through the gateway, the command line, signals and updates. Meanwhile
// workers, gateways, PostgreSQL and Temporal are killed, frozen and cut off, the programs at the points of package
// fault. Each call is recorded with its answer. When everything runs again, the record of each device must be one
// that the table of transitions allows, in some order that agrees with the times of the calls (linearizability), and
// internal/invariants must find nothing wrong.
//
// The search for such an order ends after 5 s for a device, and after a minute for all. A device for which it has not
// ended is "not decided in time": the run says so, and fails only where internal/invariants finds its audit wrong.
//
// A run can be beside a fake Flight Control, which the agents poll and which carries out the resumes. Workers and the
// fake are killed at their points, and the fake's key-value store is emptied or stopped. PostgreSQL and Temporal are
// left alone there, because the fake does not try a rendering again that the database has refused. No device may be
// served a newer version while it waits or is paused, and each that was resumed must run what was rendered for it.
//
// A run can have disasters: PostgreSQL is put back to a copy of its files, Temporal's files are removed and `starter
// fsck --repair` is run, and disks are full. For disks the process must be able to mount a file system, as root on
// Linux is. Where it is not, the run says "left out".
//
// A run prints how often it has broken each thing, at each point.
//
// # Seeds
//
// The programs are built with the tag faults. A run is bound to a seed, which a failure prints. The same seed makes the
// same choices, though processes meet them at their own pace, so a failure may need several tries:
//
//	make faults SEED=42 FAULTS_FOR=1m
//
// plays the seed 42 once. With more time it goes on with 43, 44 and so on. The rest of the seed divided by 3 says what
// is played: 0 is faults, 1 is faults and disasters, 2 is beside Flight Control. A failure prints which calls of which
// device cannot be explained, what disagrees, the timeline, and the folder with the logs of all processes.
//
// # Time
//
// The selection in make test was measured on two cores at a load of 25: 163 s and 166 s, where it took 218 to 271 s
// before. In make test, with the race detector and another package beside it, it took 145 s. About 70 s of these are
// the build of the three programs and the start of the servers. The run under faults lasts 20 s, and comes to rest 20
// to 30 s later; a planted bug is found in about 10 s.
package faults
