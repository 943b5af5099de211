package main

import (
	"strings"

	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// members is the scheme of a target that stands for all frontends of a cluster.
const members = "members"

// temporalAt connects to Temporal at address: host:port, or several with commas, over which the SDK then spreads the
// requests by turns, as a load balancer would.
func temporalAt(address string) client.Options {
	addresses := strings.Split(address, ",")
	if len(addresses) == 1 {
		return client.Options{HostPort: address}
	}
	var state resolver.State
	for _, a := range addresses {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: a}}})
	}
	all := manual.NewBuilderWithScheme(members)
	all.InitialState(state)
	return client.Options{
		HostPort:          members + ":///temporal",
		ConnectionOptions: client.ConnectionOptions{DialOptions: []grpc.DialOption{grpc.WithResolvers(all)}},
	}
}
