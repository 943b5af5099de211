package fake

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"rollcall/internal/authority"
)

func (f *FlightControl) agentAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/devices/{name}/rendered", f.asDevice(ofItself(f.poll)))
	mux.HandleFunc("PUT /api/v1/devices/{name}/status", f.asDevice(ofItself(f.putStatus)))
	mux.HandleFunc("PATCH /api/v1/devices/{name}/status", f.asDevice(ofItself(f.patchStatus)))
	mux.HandleFunc("POST /api/v1/certificatesigningrequests", f.asDevice(f.postRenewal))
	mux.HandleFunc("GET /api/v1/certificatesigningrequests/{name}", f.asDevice(f.getRenewal))
	mux.HandleFunc("POST /api/v1/enrollmentrequests", f.asNewcomer(f.postRequest))
	mux.HandleFunc("GET /api/v1/enrollmentrequests/{name}", f.asNewcomer(f.getRequest))
	return f.recovered(f.limited(f.agentsLimit, mux))
}

// asDevice serves an agent as the device that its certificate names. What counts is who signed it, which an extension
// says: AgentAuthMiddleware in the real one's internal/api_server/middleware answers 401 without it, however the
// certificate is named. Unlike there, the name of a device may have fewer than 16 characters.
func (f *FlightControl) asDevice(do func(call)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := authority.IdentityOf(r.TLS.PeerCertificates[0])
		name, named := strings.CutPrefix(id.CommonName, authority.DeviceCN)
		switch {
		case err != nil:
			unauthorized(w, "Certificate validation failed: "+err.Error())
		case id.Signer != authority.SignerEnrollment && id.Signer != authority.SignerRenewal:
			unauthorized(w, fmt.Sprintf("unexpected client certificate signer: expected %q or %q, got %q",
				authority.SignerEnrollment, authority.SignerRenewal, id.Signer))
		case !named:
			unauthorized(w, fmt.Sprintf("Failed to extract device fingerprint: common name %q", id.CommonName))
		default:
			f.inOrganization(call{w: w, r: r, device: name}, id, do)
		}
	}
}

// ofItself serves a device that asks about itself.
func ofItself(do func(call)) func(call) {
	return func(c call) {
		if c.device != c.name() {
			unauthorized(c.w, http.StatusText(http.StatusUnauthorized))
			return
		}
		do(c)
	}
}

// asNewcomer serves an agent that enrolls, by the signer of its certificate alone, as EnrollmentAuthMiddleware does.
func (f *FlightControl) asNewcomer(do func(call)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := authority.IdentityOf(r.TLS.PeerCertificates[0])
		switch {
		case err != nil:
			unauthorized(w, "Certificate validation failed: "+err.Error())
		case id.Signer != authority.SignerBootstrap:
			unauthorized(w, fmt.Sprintf("unexpected client certificate signer: expected %q, got %q",
				authority.SignerBootstrap, id.Signer))
		default:
			f.inOrganization(call{w: w, r: r}, id, do)
		}
	}
}

// inOrganization serves an agent in the organisation that its certificate names. ExtractAndValidateOrg wants one there
// (400), and one that is known (403).
func (f *FlightControl) inOrganization(c call, id authority.Identity, do func(call)) {
	if id.Organisation == "" {
		fail(c.w, http.StatusBadRequest, "BadRequest", "no organization ID found in certificate")
		return
	}
	org, err := uuid.Parse(id.Organisation)
	if err != nil {
		unauthorized(c.w, "Failed to extract organization ID: "+err.Error())
		return
	}
	known, err := f.organizations(c.r.Context())
	switch {
	case err != nil:
		f.broken(c.w, err)
	case !slices.Contains(known, org.String()):
		fail(c.w, http.StatusForbidden, "Forbidden", errNotMember)
	default:
		c.org = org.String()
		do(c)
	}
}

func unauthorized(w http.ResponseWriter, message string) {
	fail(w, http.StatusUnauthorized, "Unauthorized", message)
}

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
