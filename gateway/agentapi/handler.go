package agentapi

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/internal/authority"
	"rollcall/runbook"
)

// call answers a request of a device, and methods are the calls of one path by their HTTP method.
type (
	call    func(w http.ResponseWriter, r *http.Request, c caller) error
	methods map[string]call
)

func (g *Gateway) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/v1/devices/{name}/rendered", g.device("rendered", methods{http.MethodGet: g.rendered}))
	mux.Handle("/api/v1/devices/{name}/status",
		g.device("status", methods{http.MethodPut: g.putStatus, http.MethodPatch: g.patchStatus}))
	mux.Handle("/api/v1/certificatesigningrequests", g.renewals("renew", http.MethodPost, g.postRenewal))
	mux.Handle("/api/v1/certificatesigningrequests/{name}", g.renewals("renewal", http.MethodGet, g.getRenewal))
	mux.Handle("/api/v1/enrollmentrequests", g.enrollment("enroll", http.MethodPost, g.postRequest))
	mux.Handle("/api/v1/enrollmentrequests/{name}", g.enrollment("enrollment", http.MethodGet, g.getRequest))
	// Not a 404: an agent that asks for something else of its device must not take it for its device's absence.
	for _, below := range []string{
		"/api/v1/devices/", "/api/v1/enrollmentrequests/",
		"/api/v1/certificatesigningrequests/",
	} {
		mux.Handle(below, g.always(problemf(http.StatusNotImplemented, "this gateway has no such call")))
	}
	mux.Handle("/", g.always(problemf(http.StatusNotFound, "there is nothing here; agents are served below /api/v1")))
	return mux
}

func (g *Gateway) always(p *problem) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		g.metrics.requests.WithLabelValues("other", strconv.Itoa(p.code)).Inc()
		p.write(w)
	})
}

// device lets a call through that the device itself makes, and that is not one too many.
func (g *Gateway) device(what string, calls methods) http.Handler {
	return g.answering(what, slices.Sorted(maps.Keys(calls)), func(w http.ResponseWriter, r *http.Request) error {
		return g.admit(w, r, r.PathValue("name"), calls[r.Method])
	})
}

// answering makes an answer of what do returns, and counts it. Other methods than the allowed ones do not come to do.
func (g *Gateway) answering(
	what string, allowed []string, do func(w http.ResponseWriter, r *http.Request) error,
) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counted := &countingWriter{ResponseWriter: w, code: http.StatusOK}
		var err error
		if slices.Contains(allowed, r.Method) { // exactly: a HEAD is no poll
			err = do(counted, r)
		} else {
			counted.Header().Set("Allow", strings.Join(allowed, ", "))
			err = problemf(http.StatusMethodNotAllowed, "use %s", strings.Join(allowed, " or "))
		}
		if err != nil {
			p := asProblem(err)
			// The context ends with a body that does not come, too, so that the answer is written either way.
			if p.code == http.StatusServiceUnavailable && r.Context().Err() == nil {
				g.cfg.Logger.Warn("Request not answered", "call", what, "device", r.PathValue("name"), "error", p)
			}
			p.write(counted)
		}
		g.metrics.requests.WithLabelValues(what, strconv.Itoa(counted.code)).Inc()
	})
}

func (g *Gateway) admit(w http.ResponseWriter, r *http.Request, name string, do call) error {
	certificate, err := g.identify(r, name)
	if err != nil {
		return err
	}
	leave, ok := g.open.enter(name, g.cfg.OpenPerDevice)
	if !ok {
		return problemf(http.StatusTooManyRequests, "device %q has %d requests open already", name, g.cfg.OpenPerDevice)
	}
	defer leave()
	return do(w, r, caller{name, certificate})
}

// identify checks that the client certificate names the device. Whether it may act is for read to find.
func (g *Gateway) identify(r *http.Request, name string) (certificate runbook.Certificate, err error) {
	if g.cfg.PlainHTTP {
		return certificate, nil
	}
	id, err := g.client(r)
	if err != nil {
		return certificate, err
	}
	own, ok := strings.CutPrefix(id.CommonName, authority.DeviceCN)
	switch {
	case !ok || own == "":
		return certificate, problemf(http.StatusForbidden, "the client certificate of %q names no device (%sNAME)",
			id.CommonName, authority.DeviceCN)
	case id.Signer != "" && id.Signer != authority.SignerEnrollment && id.Signer != authority.SignerRenewal:
		return certificate, problemf(http.StatusForbidden,
			"the client certificate of %q is of signer %q, which signs for other purposes", id.CommonName, id.Signer)
	case own != name:
		return certificate, problemf(http.StatusForbidden, "the client certificate is that of device %q, not of %q", own,
			name)
	}
	return certificateOf(r.TLS.PeerCertificates[0]), nil
}

// client reads the client certificate. That it is valid, the handshake has checked; a connection may outlive it. Where
// it names an organisation, that counts: another's device of the same name is not spoken for.
func (g *Gateway) client(r *http.Request) (id authority.Identity, err error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return id, problemf(http.StatusUnauthorized, "a client certificate is needed")
	}
	cert := r.TLS.PeerCertificates[0]
	if time.Now().After(cert.NotAfter) {
		return id, problemf(http.StatusUnauthorized, "the client certificate has expired")
	}
	if id, err = authority.IdentityOf(cert); err != nil {
		return id, problemf(http.StatusForbidden, "%v", err)
	}
	if id.Organisation != "" && !strings.EqualFold(id.Organisation, g.cfg.OrgID) {
		return id, problemf(http.StatusForbidden, "the client certificate is of organisation %q, which is not served here",
			printable(id.Organisation))
	}
	return id, nil
}

// countingWriter remembers the code that was answered.
type countingWriter struct {
	http.ResponseWriter
	code int
}

// WriteHeader is http.ResponseWriter's.
func (w *countingWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// only takes the one value of a query parameter; none is empty. Several contradict each other.
func only(values []string) (string, error) {
	if len(slices.Compact(values)) > 1 {
		return "", problemf(http.StatusBadRequest, "knownRenderedVersion is given more than once")
	}
	if len(values) == 0 {
		return "", nil
	}
	return values[0], nil
}
