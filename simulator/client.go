package simulator

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxAnswer is how much of an answer is read.
const maxAnswer = 4 << 20

// client makes an HTTP client that shows this certificate. TLS sessions are remembered for it alone: a session that is
// taken up again brings the certificate of whoever began it, so that agents that shared them would speak for each
// other.
func (f *Fleet) client(certificate tls.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: f.cfg.Dial,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: f.cfg.Roots, Certificates: []tls.Certificate{certificate},
			ClientSessionCache: tls.NewLRUClientSessionCache(1),
		},
		// An agent makes one request at a time. Thousands of them are in one process, so that each is kept small.
		MaxIdleConnsPerHost: 1,
		ReadBufferSize:      2 << 10,
		WriteBufferSize:     1 << 10,
		IdleConnTimeout:     2 * time.Minute,
		TLSHandshakeTimeout: dialLimit,
		DisableCompression:  true,
	}}
}

// answer is what the gateway said.
type answer struct {
	code int
	// json reports whether it says of itself that it is JSON. Agents take no other for an object.
	json       bool
	retryAfter time.Duration
	body       []byte
}

// call makes a request and reads the answer.
func (f *Fleet) call(ctx context.Context, client *http.Client, method, path string, body []byte) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, f.base+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body == nil {
		r.Body, r.ContentLength = nil, 0
	} else {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Flightctl-API-Version", apiVersion)
	response, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	a := answer{
		code: response.StatusCode, json: strings.Contains(response.Header.Get("Content-Type"), "json"),
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		a.retryAfter = time.Duration(seconds) * time.Second
	}
	if a.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer)); err != nil {
		return a, fmt.Errorf("read the answer: %w", err)
	}
	return a, nil
}

// failure is a request that did not do what it was to do. The agent tries again after a while.
type failure struct {
	err error
}

// Error is why.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap is the cause.
func (f *failure) Unwrap() error { return f.err }

// failed is the failure that an answer is, and counts it.
func (f *Fleet) failed(what string, a answer) error {
	switch a.code {
	case http.StatusBadRequest:
		f.counts.refused.Add(1)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
	default:
		f.counts.errors.Add(1)
	}
	return &failure{err: fmt.Errorf("%s: %d %s: %s", what, a.code, http.StatusText(a.code), firstOf(a.body))}
}

// unreachable is the failure of a request that had no answer.
func (f *Fleet) unreachable(what string, err error) error {
	f.counts.errors.Add(1)
	return &failure{err: fmt.Errorf("%s: %w", what, err)}
}

// firstOf is the beginning of an answer, for a message.
func firstOf(body []byte) string {
	const enough = 300
	return string(bytes.ToValidUTF8(bytes.TrimSpace(body[:min(len(body), enough)]), nil))
}
