package agentapi

import (
	"context"
	"net/http"
	"sync"
	"time"

	"rollcall/gateway/limits"
	"rollcall/internal/authority"
)

// startAgainAfter is when the workflow of a request is started again that an agent still asks about. Where it runs,
// that costs one call and changes nothing.
const startAgainAfter = time.Minute

// enrolls is what the gateway knows of the agents that want to be let in.
type enrolls struct {
	// open counts the calls by the address they come from, and under no address all of them; names those about one
	// request.
	open, names openRequests
	// working are those that use the database.
	working chan struct{}
	// started are the requests whose workflow was started, failed is when that failed last, and unsigned are the names of
	// which was said that they cannot be signed.
	started, failed, unsigned recent
	// posts counts what each source posts.
	posts *limits.Rates
}

func newEnrolls(perMinute int) enrolls {
	return enrolls{working: make(chan struct{}, enrollmentsAtOnce), posts: limits.NewRates(perMinute, time.Minute)}
}

func (e *enrolls) sweep(now time.Time) {
	e.posts.Sweep(now)
	for _, r := range []*recent{&e.started, &e.failed, &e.unsigned} {
		r.sweep(now, startAgainAfter)
	}
}

// enrollment lets a call through that an agent with a bootstrap certificate makes, and that is not one too many.
func (g *Gateway) enrollment(what, method string, do func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return g.answering(what, []string{method}, func(w http.ResponseWriter, r *http.Request) error {
		if err := g.isEnrolling(r); err != nil {
			return err
		}
		leave, err := g.enrolls.enter(r, g.cfg)
		if err != nil {
			return err
		}
		defer leave()
		if err := g.standsAlone(r.Context()); err != nil {
			return err
		}
		if r.TLS != nil {
			if err := g.bootstrapMayAct(r.Context(), certificateOf(r.TLS.PeerCertificates[0])); err != nil {
				return err
			}
		}
		return do(w, r)
	})
}

// isEnrolling checks that the client certificate is a bootstrap certificate. A device that has its own needs no request
// any more, not even to read.
func (g *Gateway) isEnrolling(r *http.Request) error {
	if g.cfg.PlainHTTP {
		return nil
	}
	id, err := g.client(r)
	if err != nil {
		return err
	}
	if !authority.IsEnrollment(id.CommonName) {
		return problemf(http.StatusForbidden, "the client certificate of %q is not one to enroll with (%s)", id.CommonName,
			authority.EnrollmentCN)
	}
	return nil
}

// enter counts one more call, unless there are too many from its address or in all.
func (e *enrolls) enter(r *http.Request, cfg Config) (leave func(), err error) {
	source := limits.Source(r.RemoteAddr)
	leaveSource, ok := e.open.enter("from "+source, cfg.OpenPerSource)
	if !ok {
		return nil, problemf(http.StatusTooManyRequests, "%d calls about enrollment requests are open from %s already",
			cfg.OpenPerSource, source)
	}
	leaveAll, ok := e.open.enter("", cfg.OpenEnrollments)
	if !ok {
		leaveSource()
		return nil, problemf(http.StatusTooManyRequests, "%d calls about enrollment requests are open already",
			cfg.OpenEnrollments)
	}
	return func() { leaveAll(); leaveSource() }, nil
}

// about counts one more call about a request, unless there are too many.
func (e *enrolls) about(name string, limit int) (leave func(), err error) {
	leave, ok := e.names.enter(name, limit)
	if !ok {
		return nil, problemf(http.StatusTooManyRequests, "%d calls about enrollment request %q are open already", limit, name)
	}
	return leave, nil
}

// using runs do, which uses the database, when it is its turn.
func (e *enrolls) using(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	select {
	case e.working <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-e.working }()
	return do(ctx)
}

// recent remembers when things were last done. Its zero value is empty.
type recent struct {
	mu sync.Mutex
	at map[string]time.Time
}

// since reports whether something was done less than a while ago.
func (r *recent) since(what string, now time.Time, while time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.at[what]
	return ok && now.Sub(at) < while
}

func (r *recent) keep(what string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = map[string]time.Time{}
	}
	r.at[what] = now
}

// sweep forgets what is too old to matter.
func (r *recent) sweep(now time.Time, while time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for what, at := range r.at {
		if now.Sub(at) >= while {
			delete(r.at, what)
		}
	}
}
