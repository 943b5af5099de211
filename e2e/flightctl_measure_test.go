package e2e

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// The roll shows what Flight Control has written within this time, of 95 in 100 changes, at this many devices.
const (
	measuredFleet   = 10_000
	measuredChanges = 500
	measuredLimit   = 3 * time.Second
)

// TestTheRollShowsAChangeSoon measures how long after Flight Control's write the roll shows it. It takes minutes, and
// runs only with ROLLCALL_MEASURE=1, on a machine that does nothing else.
func TestTheRollShowsAChangeSoon(t *testing.T) {
	if os.Getenv("ROLLCALL_MEASURE") != "1" {
		t.Skip("set ROLLCALL_MEASURE=1 to measure")
	}
	c := newControlled(t)
	c.works()
	fleet := make(map[string]string, measuredFleet)
	for i := range measuredFleet {
		fleet[measuredName(i)] = "5"
	}
	c.fleet(fleet)
	c.restore(runbook.RestoreInput{RestoreID: "r1", WatchInterval: "2s"})
	require.Eventually(t, func() bool {
		var called int
		err := c.owner.DB().GetContext(t.Context(), &called, `select count(*) from rollcall.roll where batch is not null`)
		return err == nil && called == measuredFleet
	}, 20*time.Minute, time.Second, "all devices are called")

	waits := c.changes()
	slices.Sort(waits)
	at95 := waits[len(waits)*95/100]
	t.Logf("devices %d, changes %d: median %s, 95th percentile %s, longest %s",
		measuredFleet, len(waits), waits[len(waits)/2], at95, waits[len(waits)-1])
	require.Less(t, at95, measuredLimit)
}

func measuredName(i int) string { return fmt.Sprintf("d-%05d", i) }

// changes has Flight Control release devices, one each 50 ms, and returns how long the roll took to show each. One
// query reads the roll for all of them, so that measuring is no load of its own.
func (c *controlled) changes() []time.Duration {
	c.t.Helper()
	written, waits := map[string]time.Time{}, []time.Duration{}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for made := 0; made < measuredChanges || len(written) > 0; {
		<-tick.C
		if made < measuredChanges {
			name := measuredName(made * measuredFleet / measuredChanges)
			c.flightControl(`update devices set annotations = annotations - 'device-controller/awaitingReconnect',
				status = jsonb_set(status, '{summary,status}', '"Online"'), resource_version = resource_version + 1
				where name = $1`, name)
			written[name] = time.Now()
			made++
		}
		var shown []string
		require.NoError(c.t, c.owner.DB().SelectContext(c.t.Context(), &shown,
			`select name from rollcall.roll where state = $1`, runbook.StateNormal))
		for _, name := range shown {
			if at, waiting := written[name]; waiting {
				waits = append(waits, time.Since(at))
				delete(written, name)
			}
		}
	}
	return waits
}
