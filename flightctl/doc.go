// Package flightctl speaks with a live Flight Control: with its user API over HTTPS, and with its key-value store.
//
// Three habits of Flight Control shape the package:
//   - Its API server compares a device's version only where the key of MarkAwaiting stands in the store.
//   - An answer that does not come says nothing about what was done, so errors tell what is known.
//   - It limits the requests of an address, agents' included, so a Client takes less than half of them.
package flightctl
