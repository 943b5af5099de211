package main

import (
	"maps"
	"time"

	"go.temporal.io/server/common/dynamicconfig"
)

// unlimited is far above what one machine does; 0 is not "no limit" for all of them.
const unlimited = 1_000_000

// settings are limits, and with --jwks-uri also that events carry the caller as the server knows it.
func settings(o *options) dynamicconfig.StaticClient {
	if o.jwksURI == "" {
		return limits
	}
	s := maps.Clone(limits)
	s[dynamicconfig.EnablePrincipalPropagation.Key()] = true
	return s
}

// limits lifts the rates that the server limits by default, so that what a bench measures is its work. The limits that
// belong to the design of a workflow (events and bytes in a history, pending children, updates in flight) stay.
var limits = dynamicconfig.StaticClient{
	// Requests a second: 2,400 for each frontend and namespace, 3,000 for each history and 1,200 for each matching host.
	dynamicconfig.FrontendRPS.Key():                        unlimited,
	dynamicconfig.FrontendMaxNamespaceRPSPerInstance.Key(): unlimited,
	dynamicconfig.HistoryRPS.Key():                         unlimited,
	dynamicconfig.MatchingRPS.Key():                        unlimited,
	// Ten list and count requests a second.
	dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): unlimited,
	// 1,200 polls and queries at a time.
	dynamicconfig.FrontendMaxConcurrentLongRunningRequestsPerInstance.Key(): unlimited,
	// Requests to the database a second: 2,000 of a frontend, 9,000 of history, 3,000 of matching, 500 of the server's own
	// workflows, and 9,000 reads and writes of the search index.
	dynamicconfig.FrontendPersistenceMaxQPS.Key():        unlimited,
	dynamicconfig.HistoryPersistenceMaxQPS.Key():         unlimited,
	dynamicconfig.MatchingPersistenceMaxQPS.Key():        unlimited,
	dynamicconfig.WorkerPersistenceMaxQPS.Key():          unlimited,
	dynamicconfig.VisibilityPersistenceMaxReadQPS.Key():  unlimited,
	dynamicconfig.VisibilityPersistenceMaxWriteQPS.Key(): unlimited,
	// A namespace and its search attributes, once registered, are known to all services after at most this long. It is 2 s
	// by default; devenv waits for it at the first start.
	dynamicconfig.NamespaceCacheRefreshInterval.Key(): time.Second,
	// Four partitions, the default, are for more polls than a few workers have (docs/performance.md).
	dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,
	dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
}
