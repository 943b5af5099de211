package main

import (
	"net"
	"net/url"
	"strconv"
	"time"

	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"
)

const loopback = "127.0.0.1"

// portOrder is what a member runs, in the order of its ports. A server that lets no one in without a token has an
// internal frontend, through which its services speak to each other, in place of its own workflows, which nothing here
// needs.
func portOrder(o *options) [portsOfMember]primitives.ServiceName {
	last := primitives.WorkerService
	if o.jwksURI != "" {
		last = primitives.InternalFrontendService
	}
	return [portsOfMember]primitives.ServiceName{
		primitives.FrontendService, primitives.HistoryService, primitives.MatchingService, last,
	}
}

const (
	clusterName        = "active"
	mainStore          = "main"
	visibilityStore    = "visibility"
	connectionLifetime = time.Hour
)

func serverOptions(o *options, logger log.Logger) []temporal.ServerOption {
	var services []string
	for _, name := range portOrder(o) {
		services = append(services, string(name))
	}
	// The mapper of claims is made when its option is applied, and reads the configuration, which comes first.
	return append(append([]temporal.ServerOption{temporal.WithConfig(serverConfig(o))}, authOptions(o, logger)...),
		temporal.ForServices(services),
		// A list in place of gossip: members do not change while a bench runs, and a lone one need not wait for others.
		temporal.WithStaticHosts(hosts(o)),
		temporal.WithDynamicConfigClient(settings(o)),
		temporal.WithLogger(logger),
	)
}

// authOptions let everyone in, or with --jwks-uri only who has a token.
func authOptions(o *options, logger log.Logger) []temporal.ServerOption {
	if o.jwksURI == "" {
		return []temporal.ServerOption{
			temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
			temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper {
				return authorization.NewNoopClaimMapper()
			}),
		}
	}
	return []temporal.ServerOption{
		temporal.WithAuthorizer(authorization.NewDefaultAuthorizer()),
		temporal.WithClaimMapper(func(c *config.Config) authorization.ClaimMapper {
			auth := &c.Global.Authorization
			return authorization.NewDefaultJWTClaimMapper(authorization.NewDefaultTokenKeyProvider(auth, logger), auth, logger)
		}),
	}
}

func serverConfig(o *options) *config.Config {
	frontend := hostPort(o.members[0])
	c := &config.Config{
		Persistence: config.Persistence{
			DefaultStore:     mainStore,
			VisibilityStore:  visibilityStore,
			NumHistoryShards: int32(o.shards),
			DataStores: map[string]config.DataStore{
				mainStore:       {SQL: o.sql(mainDatabase)},
				visibilityStore: {SQL: o.sql(visibilityDatabase)},
			},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: frontend},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services:            map[string]config.Service{},
		PublicClient:        config.PublicClient{HostPort: hostPort(o.port)},
	}
	if o.jwksURI != "" {
		c.Global.Authorization.JWTKeyProvider.KeySourceURIs = []string{o.jwksURI}
		c.PublicClient = config.PublicClient{} // the internal frontend is in its place
	}
	c.Archival.History.State = "disabled"
	c.Archival.Visibility.State = "disabled"
	c.NamespaceDefaults.Archival.History.State = "disabled"
	c.NamespaceDefaults.Archival.Visibility.State = "disabled"
	for i, name := range portOrder(o) {
		c.Services[string(name)] = config.Service{RPC: config.RPC{GRPCPort: o.port + i, BindOnIP: loopback}}
	}
	return c
}

// hosts lists who runs each service: every member does.
func hosts(o *options) map[primitives.ServiceName]static.Hosts {
	all := map[primitives.ServiceName]static.Hosts{}
	for i, name := range portOrder(o) {
		h := static.Hosts{Self: hostPort(o.port + i)}
		for _, member := range o.members {
			h.All = append(h.All, hostPort(member+i))
		}
		all[name] = h
	}
	if internal, ok := all[primitives.InternalFrontendService]; ok {
		all[primitives.WorkerService] = internal // the server asks for a place of each service, also of one that does not run
	}
	return all
}

// sql says how to reach a database.
func (o *options) sql(database string) *config.SQL {
	password, _ := o.postgres.User.Password()
	c := &config.SQL{
		PluginName:   postgresql.PluginNamePGX,
		ConnectAddr:  o.postgres.Host,
		DatabaseName: database,
		// The server writes it into a URL as it is.
		User:     url.User(o.postgres.User.Username()).String(),
		Password: password,
		// As many idle ones, or each burst would begin with new connections.
		MaxConns: o.conns, MaxIdleConns: o.conns, MaxConnLifetime: connectionLifetime,
		ConnectAttributes: map[string]string{},
	}
	for name, values := range o.postgres.Query() {
		c.ConnectAttributes[name] = values[0]
	}
	if o.asyncCommit {
		c.ConnectAttributes["synchronous_commit"] = "off"
	}
	return c
}

// url is the connection string of another database of the same PostgreSQL.
func (o *options) url(database string) string {
	u := *o.postgres
	u.Path = "/" + database
	return u.String()
}

func hostPort(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }
