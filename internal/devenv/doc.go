// Package devenv runs what Rollcall needs on a machine where nothing is installed as a service: a private PostgreSQL
// cluster and a Temporal development server, both child processes on files below one directory (".rollcall" for
// `starter dev`).
//
// For benches there is also a Temporal server on a PostgreSQL of its own (TemporalOnPostgres), built by `make
// bench-server`.
//
// The files survive a restart; the processes never outlive ours. On Linux the kernel ends them when we die, by
// whatever signal; on other Unix systems a small shell does, which waits on a pipe from us. Everything listens on
// 127.0.0.1 only.
//
// PostgreSQL refuses to run as root. As root, the cluster runs as the user "postgres", or else "no one", and where
// that user cannot reach the directory (a clone below /root) its files stand in FallbackRoot instead, in a directory
// whose name is derived from the path, so that the next start finds them again.
package devenv
