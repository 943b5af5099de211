package simulator_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/authority"
)

func text(version uint64) string { return strconv.FormatUint(version, 10) }

// read reads a version as the service does.
func read(version string) (uint64, bool) {
	v, err := strconv.ParseUint(version, 10, 63)
	return v, version == "" || err == nil && text(v) == version
}

// gateway plays the service by the wire contract. It notes what it is asked, in words.
type gateway struct {
	w        *world
	mux      *http.ServeMux
	mu       sync.Mutex
	rendered map[string]uint64
	requests map[string]map[string]any
	moved    chan struct{}
	heard    []call
	// holdFor is how long a poll is held.
	holdFor time.Duration
	// answer replies in place of the gateway where it writes anything; nil is never.
	answer func(c call, w http.ResponseWriter) bool
	// wrong are certificates of someone else.
	wrong []string
}

// call is a request, in words.
type call struct {
	device, what, version string
	status                map[string]any
	at                    time.Time
}

func newGateway(w *world) *gateway {
	g := &gateway{
		w: w, mux: http.NewServeMux(), rendered: map[string]uint64{}, requests: map[string]map[string]any{},
		moved: make(chan struct{}), holdFor: 3 * time.Minute,
	}
	g.mux.HandleFunc("GET /api/v1/devices/{name}/rendered", g.poll)
	g.mux.HandleFunc("PUT /api/v1/devices/{name}/status", g.putStatus)
	g.mux.HandleFunc("POST /api/v1/enrollmentrequests", g.enroll)
	g.mux.HandleFunc("GET /api/v1/enrollmentrequests/{name}", g.request)
	return g
}

// ServeHTTP checks whose certificate it is.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, name := splitDevice(r.URL.Path)
	want := authority.DeviceCN + name
	switch {
	case strings.HasPrefix(r.URL.Path, "/api/v1/certificatesigningrequests"):
		want = authority.DeviceCN + "web-7"
	case name == "":
		want = authority.EnrollmentCN
	}
	if cn := r.TLS.PeerCertificates[0].Subject.CommonName; cn != want {
		g.mu.Lock()
		g.wrong = append(g.wrong, fmt.Sprintf("%s %s with the certificate of %s", r.Method, r.URL.Path, cn))
		g.mu.Unlock()
		w.WriteHeader(http.StatusForbidden)
		return
	}
	g.mux.ServeHTTP(w, r)
}

func splitDevice(path string) (string, string) {
	rest, ok := strings.CutPrefix(path, "/api/v1/devices/")
	if !ok {
		return "", ""
	}
	name, what, _ := strings.Cut(rest, "/")
	return what, name
}

func (g *gateway) render(name string, version uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rendered[name] = version
	close(g.moved)
	g.moved = make(chan struct{})
}

// note keeps a call; done tells that it was answered already.
func (g *gateway) note(w http.ResponseWriter, c call) (done bool) {
	c.at = time.Now()
	g.mu.Lock()
	g.heard = append(g.heard, c)
	answer := g.answer
	g.mu.Unlock()
	return answer != nil && answer(c, w)
}

// calls are those of a device; empty is all.
func (g *gateway) calls(device string) []call {
	g.mu.Lock()
	defer g.mu.Unlock()
	var calls []call
	for _, c := range g.heard {
		if device == "" || c.device == device {
			calls = append(calls, c)
		}
	}
	return calls
}

// story is the same in one line each.
func (g *gateway) story(device string) []string {
	var story []string
	for _, c := range g.calls(device) {
		line := c.what + " " + c.version
		if c.status != nil {
			line += " " + at(c.status, "summary", "status") + " " + at(c.status, "updated", "status")
		}
		story = append(story, line)
	}
	return story
}

func at(v any, path ...string) string {
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[p]
	}
	s, _ := v.(string)
	return s
}

func (g *gateway) poll(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Flightctl-API-Version") != "v1beta1" { // as an agent sends it
		w.WriteHeader(http.StatusNotAcceptable)
		return
	}
	name, version := r.PathValue("name"), r.URL.Query().Get("knownRenderedVersion")
	if g.note(w, call{device: name, what: "poll", version: version}) {
		return
	}
	known, ok := read(version)
	if !ok {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	hold := time.After(g.holdFor)
	for {
		g.mu.Lock()
		rendered, there := g.rendered[name]
		moved := g.moved
		g.mu.Unlock()
		switch {
		case !there:
			noDevice(w, name)
			return
		case rendered > known:
			serve(w, name, map[string]string{"device-controller/renderedVersion": text(rendered)})
			return
		}
		select {
		case <-moved:
		case <-hold:
			w.WriteHeader(http.StatusNoContent)
			return
		case <-r.Context().Done():
			return
		}
	}
}

// noDevice says of a device that it is not there, in the words that count.
func noDevice(w http.ResponseWriter, name string) {
	w.WriteHeader(http.StatusNotFound)
	_, _ = fmt.Fprintf(w, `{"kind":"Status","message":"Device of name \"%s\" not found"}`, name)
}

func serve(w http.ResponseWriter, name string, annotations map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"kind": "Device", "metadata": map[string]any{"name": name, "annotations": annotations},
		"spec": map[string]any{"os": map[string]string{"image": "registry.example.com/os:2"}},
	})
}

func (g *gateway) putStatus(w http.ResponseWriter, r *http.Request) {
	var device map[string]any
	if json.NewDecoder(r.Body).Decode(&device) != nil || device["kind"] != "Device" ||
		device["apiVersion"] != "v1beta1" ||
		at(device, "metadata", "name") != r.PathValue("name") {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	status, _ := device["status"].(map[string]any)
	version := at(status, "config", "renderedVersion")
	if g.note(w, call{device: r.PathValue("name"), what: "status", version: version, status: status}) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.rendered[r.PathValue("name")]; !ok {
		noDevice(w, r.PathValue("name"))
		return
	}
	if _, ok := read(version); !ok {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(device)
}

func (g *gateway) enroll(w http.ResponseWriter, r *http.Request) {
	var request map[string]any
	if json.NewDecoder(r.Body).Decode(&request) != nil || request["kind"] != "EnrollmentRequest" ||
		request["apiVersion"] != "v1beta1" || at(request, "spec", "osMode") != "image" ||
		at(request, "spec", "labels", "alias") == "" { // as an agent sends them
		w.WriteHeader(http.StatusTeapot)
		return
	}
	name := at(request, "metadata", "name")
	if g.note(w, call{device: name, what: "enroll", version: at(request, "spec", "knownRenderedVersion")}) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if _, there := g.requests[name]; there {
		w.WriteHeader(http.StatusConflict)
		return
	}
	request["status"] = map[string]any{"conditions": []any{}}
	g.requests[name] = request
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(request)
}

func (g *gateway) request(w http.ResponseWriter, r *http.Request) {
	if g.note(w, call{device: r.PathValue("name"), what: "look"}) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	request, ok := g.requests[r.PathValue("name")]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(request)
}

// deny and approve decide a request; approve signs its certificate and makes its device.
func (g *gateway) deny(name string) { g.decide(name, "Denied", nil) }

func (g *gateway) approve(name string) {
	g.mu.Lock()
	block, _ := pem.Decode([]byte(at(g.requests[name], "spec", "csr")))
	g.mu.Unlock()
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	require.NoError(g.w.t, err)
	require.NoError(g.w.t, csr.CheckSignature())
	require.Equal(g.w.t, name, csr.Subject.CommonName)
	key, err := authority.DeviceName(csr.PublicKey)
	require.NoError(g.w.t, err)
	require.Equal(g.w.t, name, key)
	g.render(name, 1)
	g.decide(name, "Approved", map[string]any{"certificate": g.w.sign(csr.PublicKey.(*ecdsa.PublicKey),
		authority.DeviceCN+name)})
}

func (g *gateway) decide(name, condition string, more map[string]any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	status := map[string]any{"conditions": []any{map[string]any{
		"type": condition, "status": "True",
		"reason": "Manually",
	}}}
	for k, v := range more {
		status[k] = v
	}
	g.requests[name]["status"] = status
}

// sign makes a client certificate for a key that is not ours.
func (w *world) sign(public *ecdsa.PublicKey, commonName string) string {
	raw, err := os.ReadFile(w.caKey)
	require.NoError(w.t, err)
	block, _ := pem.Decode(raw)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(w.t, err)
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(99), Subject: pkix.Name{CommonName: commonName}, NotBefore: time.Now().Add(-time.Minute),
		NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, w.ca.Certificate(), public, key)
	require.NoError(w.t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
}
