// Package faults plays roll calls on real processes, breaks these at random, and checks that nothing was lost.
//
// Agents and operators of two organisations act through the gateway, the command line, signals and updates. Meanwhile
// workers, gateways, PostgreSQL and Temporal are killed, frozen and cut off, the programs at the points of package
// fault. Each call is recorded with its answer. When everything runs again, the record of each device must be one
// that the table of transitions allows, in some order that agrees with the times of the calls (linearizability), and
// internal/invariants must find nothing wrong.
//
// Agents also post enrollment requests, with a bootstrap certificate, and look what has become of them. Some requests
// are in the backup. Several operators approve and deny a request at the same time. The record of each request must be
// one that a small model allows: the first decision stands, an approval makes one device, which waits on the roll or
// does not, a denial makes none, and a command that is given again has the same answer.
//
// Now and then an operator resumes the paused devices of a selection, in one wave or in several. Each device that the
// plan has resumed counts as a decision of that person.
//
// The search for such an order ends after 5 s for a device, and after a minute for all. A device for which it has not
// ended is "not decided in time": the run says so, and fails only where internal/invariants finds its audit wrong.
//
// A run can be beside a fake Flight Control, which the agents poll and which carries out the resumes. Workers and the
// fake are killed at their points, and the fake's key-value store is emptied or stopped. PostgreSQL and Temporal are
// left alone there, because the fake does not try a rendering again that the database has refused. No device may be
// served a newer version while it waits or is paused, and each that was resumed must run what was rendered for it.
//
// A restore can be cancelled and taken up again with starter. Each device must then be where it was. What was told in
// between may be refused, and what had not been read by then may be lost.
//
// A run can have disasters: PostgreSQL is put back to a copy of its files, Temporal's files are removed and `starter
// fsck --repair` is run, and disks are full. For disks the process must be able to mount a file system, as root on
// Linux is. Where it is not, the run says "left out".
//
// Where PostgreSQL was put back, the state of the copy stands. What was accepted since the copy was made, or since
// Temporal lost its database where that was later, must be named in the audit and counted by `starter status`:
// decisions about devices and requests, and the first version that a person has reported for a device. In some runs
// PostgreSQL is put back twice, first to a time at which devices were still put on the roll. What the second time has
// lost must be named. Of an agent's report the harness does not say that it was lost, because it may have been read
// later.
//
// A program can also halt at one of its points. PostgreSQL or Temporal is killed then, and comes back before the
// program goes on; or time passes.
//
// At the end no table, list, history or log may have a password of the run, or a line of its private keys.
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
// plays the seed 42 once. With more time it goes on with 43, 44 and so on. The rest of the seed divided by 6 says what
// is played:
//
//	0, 3  faults; with 3 a restore is cancelled and taken up again
//	1     faults and disasters
//	4     the same, with PostgreSQL put back twice and Temporal's files left alone
//	2, 5  beside Flight Control
//
// A failure prints which calls of which device or request cannot be explained, what disagrees, the timeline, and the
// folder with the logs of all processes.
//
// # Time
//
// The selection in make test was measured on two cores at a load of 25: 163 s and 166 s, where it took 218 to 271 s
// before. In make test, with the race detector and another package beside it, it took 145 s. About 70 s of these are
// the build of the three programs and the start of the servers. The run under faults lasts 20 s, and comes to rest 20
// to 30 s later; a planted bug is found in about 10 s.
package faults
