package fake

import (
	"context"
	"net/http"
	"strings"
	"time"

	"rollcall/internal/authority"
	"rollcall/runbook"
)

func (f *FlightControl) agentAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/devices/{name}/rendered", f.asDevice(f.poll))
	mux.HandleFunc("PUT /api/v1/devices/{name}/status", f.asDevice(f.putStatus))
	mux.HandleFunc("POST /api/v1/enrollmentrequests", f.asNewcomer(f.postRequest))
	mux.HandleFunc("GET /api/v1/enrollmentrequests/{name}", f.asNewcomer(f.getRequest))
	return f.recovered(f.limited(f.agentsLimit, mux))
}

// asDevice serves an agent only as the device that its certificate names.
func (f *FlightControl) asDevice(do func(call)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(commonName(r), authority.DeviceCN)
		if !ok || name != r.PathValue("name") {
			fail(w, http.StatusUnauthorized, "Unauthorized", http.StatusText(http.StatusUnauthorized))
			return
		}
		do(call{w: w, r: r, org: runbook.DefaultOrgID})
	}
}

// asNewcomer serves an agent that enrolls.
func (f *FlightControl) asNewcomer(do func(call)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !authority.IsEnrollment(commonName(r)) {
			fail(w, http.StatusUnauthorized, "Unauthorized", "unexpected client certificate signer")
			return
		}
		do(call{w: w, r: r, org: runbook.DefaultOrgID})
	}
}

func commonName(r *http.Request) string { return r.TLS.PeerCertificates[0].Subject.CommonName }

// sawDevice notes that an agent has polled. It is written later, and only then.
func (f *FlightControl) sawDevice(org, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen[deviceID{org, name}] = struct{}{}
}

// saveSeen writes last_seen of those that have polled. No other column moves with it.
func (f *FlightControl) saveSeen() {
	tick := time.NewTicker(f.cfg.SaveEvery)
	defer tick.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-tick.C:
			f.saveSeenOnce(f.ctx)
		}
	}
}

func (f *FlightControl) saveSeenOnce(ctx context.Context) {
	f.mu.Lock()
	seen := f.seen
	f.seen = map[deviceID]struct{}{}
	f.mu.Unlock()
	for id := range seen {
		if err := f.touch(ctx, id.org, id.name); err != nil && ctx.Err() == nil {
			f.log.Error("write last_seen", "device", id.name, "error", err)
		}
	}
}

func (f *FlightControl) touch(ctx context.Context, org, name string) error {
	_, err := f.db.ExecContext(ctx, `update device_timestamps set last_seen = now() where org_id = $1 and name = $2`, org,
		name)
	return err
}
