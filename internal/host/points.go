//go:build !faults

package host

import "go.temporal.io/sdk/client"

// mark adds the points of package fault to the calls of a client; a release build has none.
func mark(*client.Options) {}
