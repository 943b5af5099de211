package agentapi

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/authority"
)

// call answers a request of the device of that name.
type call func(w http.ResponseWriter, r *http.Request, name string) error

func (g *Gateway) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/v1/devices/{name}/rendered", g.device("rendered", http.MethodGet, g.rendered))
	mux.Handle("/api/v1/devices/{name}/status", g.device("status", http.MethodPut, g.putStatus))
	mux.Handle("/api/v1/enrollmentrequests", g.enrollment("enroll", http.MethodPost, g.postRequest))
	mux.Handle("/api/v1/enrollmentrequests/{name}", g.enrollment("enrollment", http.MethodGet, g.getRequest))
	// Not a 404: an agent that asks for something else of its device must not take it for its device's absence.
	for _, below := range []string{"/api/v1/devices/", "/api/v1/enrollmentrequests/"} {
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
func (g *Gateway) device(what, method string, do call) http.Handler {
	return g.answering(what, method, func(w http.ResponseWriter, r *http.Request) error { return g.admit(w, r, do) })
}

// answering makes an answer of what do returns, and counts it.
func (g *Gateway) answering(what, method string, do func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counted := &countingWriter{ResponseWriter: w, code: http.StatusOK}
		var err error
		if r.Method == method { // exactly: a HEAD is no poll
			err = do(counted, r)
		} else {
			counted.Header().Set("Allow", method)
			err = problemf(http.StatusMethodNotAllowed, "use %s", method)
		}
		if err != nil {
			p := g.paced(asProblem(err))
			// The context ends with a body that does not come, too, so that the answer is written either way.
			if p.code == http.StatusServiceUnavailable && r.Context().Err() == nil {
				g.cfg.Logger.Warn("Request not answered", "call", what, "device", r.PathValue("name"), "error", p)
			}
			p.write(counted)
		}
		g.metrics.requests.WithLabelValues(what, strconv.Itoa(counted.code)).Inc()
	})
}

func (g *Gateway) admit(w http.ResponseWriter, r *http.Request, do call) error {
	name := r.PathValue("name")
	if err := g.identify(r, name); err != nil {
		return err
	}
	leave, ok := g.open.enter(name, g.cfg.OpenPerDevice)
	if !ok {
		return problemf(http.StatusTooManyRequests, "device %q has %d requests open already", name, g.cfg.OpenPerDevice)
	}
	defer leave()
	return do(w, r, name)
}

// identify checks that the client certificate names the device.
func (g *Gateway) identify(r *http.Request, name string) error {
	if g.cfg.PlainHTTP {
		return nil
	}
	commonName, err := clientName(r)
	if err != nil {
		return err
	}
	own, ok := strings.CutPrefix(commonName, authority.DeviceCN)
	switch {
	case !ok || own == "":
		return problemf(http.StatusForbidden, "the client certificate of %q names no device (%sNAME)", commonName, authority.DeviceCN)
	case own != name:
		return problemf(http.StatusForbidden, "the client certificate is that of device %q, not of %q", own, name)
	}
	return nil
}

// clientName is the common name of the client certificate. That it is valid, the handshake has checked; a connection may
// outlive it.
func clientName(r *http.Request) (string, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return "", problemf(http.StatusUnauthorized, "a client certificate is needed")
	}
	cert := r.TLS.PeerCertificates[0]
	if time.Now().After(cert.NotAfter) {
		return "", problemf(http.StatusUnauthorized, "the client certificate has expired")
	}
	return cert.Subject.CommonName, nil
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

// isTooLarge tells whether a body was cut off at its limit.
func isTooLarge(err error) bool {
	var tooLarge *http.MaxBytesError
	return errors.As(err, &tooLarge)
}

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
