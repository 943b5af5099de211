package simulator_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/authority"
	"rollcall/simulator"
)

// said is an answer of the service.
type said struct {
	code  int
	body  string
	after string // Retry-After
}

func (s said) write(w http.ResponseWriter) {
	if s.after != "" {
		w.Header().Set("Retry-After", s.after)
	}
	if s.body != "" && s.body[0] == '{' {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(s.code)
	if s.code != http.StatusNoContent {
		_, _ = w.Write([]byte(s.body))
	}
}

const (
	gone     = `{"kind":"Status","message":"Device of name \"web-7\" not found"}`
	served   = `{"metadata":{"annotations":{"device-controller/renderedVersion":%q}}}`
	approved = `[{"type":"Approved","status":"True"}]`
	denied   = `[{"type":"Denied","status":"True"}]`
	paused   = `{"metadata":{"annotations":{"device-controller/renderedVersion":"5",` +
		`"device-controller/conflictPaused":"true"}}}`
)

// waitsOf are the times between the beginnings of a device's calls of a kind.
func waitsOf(calls []call, what string) (waits []time.Duration) {
	var before time.Time
	for _, c := range calls {
		if c.what != what {
			continue
		}
		if !before.IsZero() {
			waits = append(waits, c.at.Sub(before))
		}
		before = c.at
	}
	return waits
}

// requireWaits wants waits of these seconds, each within a fifth, which is the jitter.
func requireWaits(t *testing.T, waits []time.Duration, seconds ...float64) {
	t.Helper()
	require.GreaterOrEqual(t, len(waits), len(seconds), "%v", waits)
	for i, want := range seconds {
		require.InEpsilon(t, want, waits[i].Seconds(), 0.21, "wait %d of %v", i, waits)
	}
}

// TestEachAnswerToAPoll is what an agent does after each answer to its polls, with the agent's own times.
func TestEachAnswerToAPoll(t *testing.T) {
	t.Parallel()
	steady, backOff := []float64{5, 5, 5, 5}, []float64{5, 10, 20, 40, 80, 160, 300, 300}
	for name, tc := range map[string]struct {
		answer said
		waits  []float64
		wiped  bool
		told   bool // its status is put again
	}{
		"200, its own version":       {answer: said{code: 200, body: fmt.Sprintf(served, "5")}, waits: steady},
		"200, an older version":      {answer: said{code: 200, body: fmt.Sprintf(served, "4")}, waits: steady},
		"200, no version to be read": {answer: said{code: 200, body: fmt.Sprintf(served, "new")}, waits: steady},
		"200, paused":                {answer: said{code: 200, body: paused}, waits: steady, told: true},
		"200 without JSON":           {answer: said{code: 200, body: "hello"}, waits: backOff},
		"200, not an object":         {answer: said{code: 200, body: `{`}, waits: backOff},
		"204":                        {answer: said{code: 204}, waits: steady},
		"409":                        {answer: said{code: 409, body: `{}`}, waits: steady},
		"400":                        {answer: said{code: 400, body: `{}`}, waits: backOff},
		"401":                        {answer: said{code: 401}, waits: backOff},
		"403":                        {answer: said{code: 403}, waits: backOff},
		"404 in words":               {answer: said{code: 404, body: gone}, wiped: true},
		"404 of a proxy":             {answer: said{code: 404, body: "not found"}, waits: backOff},
		"404 without a body":         {answer: said{code: 404}, waits: backOff},
		"404 of something else":      {answer: said{code: 404, body: `{"message":"Device of name"}`}, waits: backOff},
		"429":                        {answer: said{code: 429, after: "60"}, waits: backOff},
		"500":                        {answer: said{code: 500}, waits: backOff},
		"503":                        {answer: said{code: 503, after: "1"}, waits: backOff},
		"504":                        {answer: said{code: 504}, waits: backOff},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				w.cfg.Timing = simulator.AgentTiming()
				w.device("web-7", 5)
				w.gateway.answer = func(c call, to http.ResponseWriter) bool {
					if c.what == "poll" {
						tc.answer.write(to)
					}
					return c.what == "poll"
				}
				s := w.run(w.fleet(), 20*time.Minute)
				require.Equal(t, tc.wiped, s.Wiped == 1)
				require.Equal(t, tc.answer.code < 500 && tc.answer.code != 429, s.Back == 1, "heard, or turned away")
				require.Equal(t, tc.told, s.Reports > 0, "a status that has not changed is put only when it is asked for")
				if tc.wiped {
					enrolls := w.gateway.enrolling(1)
					require.Equal(t, "enroll 5", w.gateway.story(enrolls[0])[0])
					return
				}
				requireWaits(t, waitsOf(w.gateway.calls("web-7"), "poll"), tc.waits...)
				require.Len(t, w.gateway.requests, 0)
			})
		})
	}
}

// TestAPollThatWasHeldIsFollowedAtOnce is when polls begin: five seconds apart, or at once where the one before took
// longer.
func TestAPollThatWasHeldIsFollowedAtOnce(t *testing.T) {
	t.Parallel()
	for held, waits := range map[time.Duration]float64{2 * time.Second: 5, 8 * time.Second: 8} {
		inWorld(t, func(w *world) {
			w.cfg.Timing = simulator.AgentTiming()
			w.device("web-7", 5)
			w.gateway.holdFor = held
			w.run(w.fleet(), time.Minute)
			polls := waitsOf(w.gateway.calls("web-7"), "poll")
			require.GreaterOrEqual(t, len(polls), 5)
			for _, wait := range polls[:5] {
				require.InDelta(t, waits, wait.Seconds(), 0.01, "held for %s", held)
			}
		})
	}
}

// TestEachAnswerToAStatus is what an agent does whose status was not taken: polls go on, and it is put again at its
// next turn, or after what it is told where the service cannot take it now.
func TestEachAnswerToAStatus(t *testing.T) {
	t.Parallel()
	turn := []float64{60, 60, 60}
	for name, tc := range map[string]struct {
		answer said
		waits  []float64
	}{
		"200":                       {said{code: 200, body: `{}`}, nil},
		"201":                       {said{code: 201, body: `{}`}, turn},
		"204":                       {said{code: 204}, turn},
		"400":                       {said{code: 400, body: `{}`}, turn},
		"404, whatever it says":     {said{code: 404, body: gone}, turn},
		"409":                       {said{code: 409}, turn},
		"503 for a while":           {said{code: 503, after: "20"}, []float64{20, 20, 20, 20, 20, 20, 60, 20}},
		"503 for longer than that":  {said{code: 503, after: "3600"}, []float64{60, 60, 60}},
		"500 without a word":        {said{code: 500}, []float64{10, 15, 22.5, 33.75, 50.6, 60, 60, 10}},
		"429 that cannot be read":   {said{code: 429, after: "soon"}, []float64{10, 15, 22.5}},
		"502, which is tried again": {said{code: 502}, []float64{10, 15, 22.5}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				w.cfg.Timing = simulator.AgentTiming()
				w.device("web-7", 5)
				w.gateway.render("web-7", 6) // so that it has something to say
				w.gateway.answer = func(c call, to http.ResponseWriter) bool {
					if c.what == "status" && c.version == "6" {
						tc.answer.write(to)
						return true
					}
					return false
				}
				s := w.run(w.fleet(), 15*time.Minute)
				var said []call
				for _, c := range w.gateway.calls("web-7") {
					if c.version == "6" {
						said = append(said, c)
					}
				}
				if tc.waits == nil {
					require.Empty(t, waitsOf(said, "status"), "once is enough")
				} else {
					requireWaits(t, waitsOf(said, "status"), tc.waits...)
				}
				require.Zero(t, s.Wiped)
				require.NotEmpty(t, waitsOf(said, "poll"), "polls go on")
			})
		})
	}
}

// TestEachAnswerToAnEnrollment is what an agent does that asks to be let in.
func TestEachAnswerToAnEnrollment(t *testing.T) {
	t.Parallel()
	// Six attempts, ever further apart, and then the agent is started again, which asks again.
	again := []float64{10, 15, 22.5, 33.75, 50.6, 60}
	for name, tc := range map[string]struct {
		what   string
		answer said
		waits  []float64
		state  simulator.State
	}{
		"201":                {"enroll", said{code: 201, body: `{}`}, []float64{197}, simulator.StateEnrolling},
		"200":                {"enroll", said{code: 200, body: `{}`}, again, simulator.StateEnrolling},
		"201 without JSON":   {"enroll", said{code: 201}, again, simulator.StateEnrolling},
		"409 without a look": {"enroll", said{code: 409}, again, simulator.StateEnrolling},
		"400":                {"enroll", said{code: 400, body: `{}`}, again, simulator.StateEnrolling},
		"503":                {"enroll", said{code: 503, after: "300"}, again, simulator.StateEnrolling},
		"looks, 404":         {"look", said{code: 404}, again[:5], simulator.StateEnrolling},
		"looks, 500":         {"look", said{code: 500}, again[:5], simulator.StateEnrolling},
		"pending":            {"look", decision(`[]`, ""), again[:5], simulator.StateEnrolling},
		"approved, unsigned": {"look", decision(approved, ""), again[:5], simulator.StateEnrolling},
		"signed, unapproved": {"look", decision(`[]`, "odd"), again[:5], simulator.StateEnrolling},
		"denied":             {"look", decision(denied, ""), nil, simulator.StateDenied},
		"denied, whatever the status": {
			"look", decision(`[{"type":"Denied","status":"False"}]`, ""), nil, simulator.StateDenied,
		},
		"failed":        {"look", decision(`[{"type":"Failed","status":"True"}]`, ""), nil, simulator.StateDenied},
		"no conditions": {"look", said{code: 200, body: `{"status":{}}`}, []float64{5}, simulator.StateEnrolling},
		"an odd certificate": {
			"look", decision(approved, "odd"), []float64{5}, simulator.StateEnrolling,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				w.cfg.Timing = simulator.AgentTiming()
				w.cfg.Extra, w.cfg.Seed = 1, 1
				w.gateway.answer = func(c call, to http.ResponseWriter) bool {
					if c.what == tc.what {
						tc.answer.write(to)
					}
					return c.what == tc.what
				}
				s := w.run(w.fleet(), 10*time.Minute)
				require.Equal(t, int64(1), s.States[tc.state], "%v", s)
				if tc.waits == nil {
					require.Empty(t, waitsOf(w.gateway.calls(""), tc.what))
				} else {
					requireWaits(t, waitsOf(w.gateway.calls(""), tc.what), tc.waits...)
				}
			})
		})
	}
}

func decision(conditions, certificate string) said {
	return said{code: 200, body: fmt.Sprintf(`{"status":{"conditions":%s,"certificate":%q}}`, conditions, certificate)}
}

// TestACertificateIsRenewed is the renewal: with three quarters of its life left an agent asks for another one, and
// waits for it as long as the service does not give it one.
func TestACertificateIsRenewed(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string]struct {
		post, get said
		waits     []float64
		renewed   bool
	}{
		"at once":           {post: said{code: 201}, renewed: true},
		"200 is taken too":  {post: said{code: 200}, renewed: true},
		"not approved":      {post: said{code: 201}, get: decision(`[]`, ""), waits: []float64{600, 1200, 1800, 1800}},
		"approved, no cert": {post: said{code: 201}, get: decision(approved, ""), waits: []float64{600, 1200}},
		"denied":            {post: said{code: 201}, get: decision(denied, ""), waits: []float64{600, 1200}},
		"503":               {post: said{code: 503, after: "5"}, waits: []float64{600, 1200, 1800, 1800}},
		"400":               {post: said{code: 400}, waits: []float64{600, 1200}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				w.cfg.Timing, w.cfg.CertificateLifetime = simulator.AgentTiming(), 20*time.Hour
				w.device("web-7", 5)
				asked := w.gateway.renews(answers.post, answers.get)
				s := w.run(w.fleet(), 8*time.Hour)
				if answers.renewed {
					require.Equal(t, int64(1), s.Renewed, s.LastError)
					require.Len(t, asked(), 1, "it is new, and has three quarters of its life")
					return
				}
				require.Zero(t, s.Renewed)
				requireWaits(t, waitsOf(asked(), "renew"), answers.waits...)
				require.Positive(t, s.Polls, "it goes on with the present one")
			})
		})
	}
}

// renews answers renewals: a request with post, and a look with get, or with a certificate where get is not given. It
// returns the looks, or the requests where none is answered well.
func (g *gateway) renews(post, get said) (asked func() []call) {
	var csr []byte
	looks := get.code != 0
	g.mux.HandleFunc("POST /api/v1/certificatesigningrequests", func(w http.ResponseWriter, r *http.Request) {
		var sent struct {
			Metadata struct{ Name string }
			Spec     struct {
				Request    []byte
				SignerName string
				Usages     []string
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil ||
			!regexp.MustCompile(`^web-7-[0-9a-f]{8}$`).MatchString(sent.Metadata.Name) ||
			sent.Spec.SignerName != authority.SignerRenewal ||
			!slices.Equal(sent.Spec.Usages, []string{"clientAuth", "CA:false"}) {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		csr = sent.Spec.Request
		if !looks {
			g.note(w, call{device: "web-7", what: "renew"})
		}
		post.write(w)
	})
	g.mux.HandleFunc("GET /api/v1/certificatesigningrequests/{name}", func(w http.ResponseWriter, _ *http.Request) {
		if looks {
			g.note(w, call{device: "web-7", what: "renew"})
			get.write(w)
			return
		}
		block, _ := pem.Decode(csr)
		request, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil || request.Subject.CommonName != "web-7" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		certificate := g.w.sign(request.PublicKey.(*ecdsa.PublicKey), "device:web-7")
		decision(approved, base64.StdEncoding.EncodeToString([]byte(certificate))).write(w)
	})
	return func() (calls []call) {
		for _, c := range g.calls("web-7") {
			if c.what == "renew" {
				calls = append(calls, c)
			}
		}
		return calls
	}
}
