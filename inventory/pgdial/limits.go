package pgdial

import (
	"fmt"
	"maps"
	"strings"

	"github.com/lib/pq"
)

// Limits are settings of a session by which the server ends what a client that is gone has left behind. A host that
// loses its power in the middle of a transaction says nothing, and TCP by itself takes hours to miss it; its locks
// would hold up the device, or a whole restore, for as long.
type Limits map[string]string

// silent is for each session: how soon the server gives up a client whose system does not answer. PostgreSQL ignores
// it on a Unix socket, whose other end cannot vanish.
var silent = Limits{
	"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3", "tcp_user_timeout": "25s",
}

// Transition is for writes of milliseconds, the default of a pool.
var Transition = Limits{idleTimeout: "10s", lockTimeout: "5s"}

// RollPart is for the transactions that put devices on a roll: they change a thousand rows, on any hardware.
var RollPart = Limits{idleTimeout: "2min", lockTimeout: "2min"}

// Unlimited is for an import, which waits in its transaction for the file that it reads, and for migrations, which
// wait for others. A host that died in one is noticed by its silence alone.
var Unlimited = Limits{idleTimeout: "0", lockTimeout: "0"}

const (
	idleTimeout = "idle_in_transaction_session_timeout"
	lockTimeout = "lock_timeout"
)

// apply sets what the database URL leaves open, in the message that opens a session.
func (l Limits) apply(cfg *pq.Config) {
	if cfg.Runtime == nil {
		cfg.Runtime = map[string]string{}
	}
	all := maps.Clone(silent)
	maps.Copy(all, l)
	for name, value := range all {
		if _, said := cfg.Runtime[name]; !said && !strings.Contains(cfg.Options, name) {
			cfg.Runtime[name] = value
		}
	}
}

// Local is the statement that gives the current transaction these limits; further columns may follow it.
func (l Limits) Local() string {
	return fmt.Sprintf("select set_config('%s', '%s', true), set_config('%s', '%s', true)",
		idleTimeout, l[idleTimeout], lockTimeout, l[lockTimeout])
}
