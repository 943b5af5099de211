// Package agentapi is the HTTP API that a fleet's agents speak, wire-compatible with Flight Control's: a device that
// polls it for its rendered spec answers the roll call by doing so.
//
// Two answers are dangerous, and shape the package. A 404 makes an agent throw its certificate away, so that it is
// given only where the database has said that there is no such device; whatever keeps it from saying so is a 503. And
// a device that awaits its reconnect, or is paused for a human, is never served a newer spec: here is where "rendering
// is paused" is kept.
package agentapi
