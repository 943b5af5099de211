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

// portOrder is the order of a member's ports.
var portOrder = [portsOfMember]primitives.ServiceName{
	primitives.FrontendService, primitives.HistoryService, primitives.MatchingService, primitives.WorkerService,
}

const (
	clusterName        = "active"
	mainStore          = "main"
	visibilityStore    = "visibility"
	connectionLifetime = time.Hour
)

func serverOptions(o *options, logger log.Logger) []temporal.ServerOption {
	return []temporal.ServerOption{
		temporal.WithConfig(serverConfig(o)),
		temporal.ForServices(temporal.DefaultServices),
		// A list in place of gossip: members do not change while a bench runs, and a lone one need not wait for others.
		temporal.WithStaticHosts(hosts(o)),
		temporal.WithDynamicConfigClient(limits),
		temporal.WithLogger(logger),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return authorization.NewNoopClaimMapper() }),
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
	c.Archival.History.State = "disabled"
	c.Archival.Visibility.State = "disabled"
	c.NamespaceDefaults.Archival.History.State = "disabled"
	c.NamespaceDefaults.Archival.Visibility.State = "disabled"
	for i, name := range portOrder {
		c.Services[string(name)] = config.Service{RPC: config.RPC{GRPCPort: o.port + i, BindOnIP: loopback}}
	}
	return c
}

// hosts lists who runs each service: every member does.
func hosts(o *options) map[primitives.ServiceName]static.Hosts {
	all := map[primitives.ServiceName]static.Hosts{}
	for i, name := range portOrder {
		h := static.Hosts{Self: hostPort(o.port + i)}
		for _, member := range o.members {
			h.All = append(h.All, hostPort(member+i))
		}
		all[name] = h
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
