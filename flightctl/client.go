package flightctl

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Client speaks with one Flight Control. It may be used by many goroutines; one for a process keeps the limits for all.
type Client struct {
	cfg      Config
	http     *http.Client
	store    *redis.Client
	requests *pace
	wakes    *pace
	user     user
	writes   writes
}

// user is whose the token is that was used last.
type user struct {
	mu          sync.Mutex
	name, token string
}

const (
	// longestCall ends a request that the caller's context does not end. A resume of 1,000 devices took 6 s.
	longestCall = 2 * time.Minute
	// longestAnswer is as much as is read of an answer.
	longestAnswer = 1 << 20
	// defaultWakes is how many held polls are ended in a second. Each agent asks twice then, which counts in its address's
	// limit, and all polls of 10,000 devices end by themselves within two minutes.
	defaultWakes = 100
	// defaultPause is how long a 429 without Retry-After stops us.
	defaultPause = time.Minute
)

// Open makes a Client. It connects to nothing yet; Check says whether that would work.
func Open(cfg Config) (*Client, error) {
	if err := errors.Join(cfg.complaints()...); err != nil {
		return nil, fmt.Errorf("configuration of Flight Control: %w", err)
	}
	cfg.Server = strings.TrimSuffix(cfg.Server, "/")
	if cfg.RequestsPerMinute == 0 {
		cfg.RequestsPerMinute = MaxRequestsPerMinute
	}
	if cfg.WakesPerSecond == 0 {
		cfg.WakesPerSecond = defaultWakes
	}
	if cfg.Clock == nil {
		cfg.Clock = realClock{}
	}
	transport, err := newTransport(cfg)
	if err != nil {
		return nil, err
	}
	return &Client{
		cfg: cfg,
		http: &http.Client{
			Transport: transport,
			Timeout:   longestCall,
			// A redirect would carry the token to wherever it points.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		store:    openStore(cfg),
		requests: newPace(cfg.Clock, float64(cfg.RequestsPerMinute)/60, requestBurst),
		wakes:    newPace(cfg.Clock, float64(cfg.WakesPerSecond), max(1, cfg.WakesPerSecond/2)),
	}, nil
}

func newTransport(cfg Config) (*http.Transport, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: cfg.TLSServerName,
		InsecureSkipVerify: cfg.InsecureSkipVerify, //nolint:gosec // the user's login says so
	}
	if len(cfg.CA) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(cfg.CA) {
			return nil, fmt.Errorf("configuration of Flight Control: the certificate authority (%s) holds no PEM certificate",
				EnvCAFile)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return transport, nil
}

// Close waits a few seconds for the writes that were sent, and closes the connections.
func (c *Client) Close() error {
	c.writes.wait(closeGrace)
	c.http.CloseIdleConnections()
	return c.store.Close()
}

// call is one request of the API.
type call struct {
	op        string // for the error
	method    string
	path      string // below the server's URL
	org       string
	body      any    // nil for none
	requestID string // empty for none
	answer    any    // where the answer's JSON goes; nil to ignore it
}

// do sends the call. Its error is an *Error. When ctx ends a write goes on, and its outcome is unknown.
func (c *Client) do(ctx context.Context, do call) error {
	req, err := c.request(ctx, do)
	if err != nil {
		return c.notMade(do.op, err)
	}
	if pause := c.requests.paused(); pause > 0 {
		return &Error{
			Op: do.op, Kind: ErrTooManyRequests, RetryAfter: pause,
			Message: "not sent, because Flight Control has asked for a pause",
		}
	}
	if err := c.requests.wait(ctx, 1); err != nil {
		return c.noTurn(do.op, err)
	}
	if do.method == http.MethodGet {
		return c.exchange(req, do)
	}
	return c.write(ctx, req, do)
}

// exchange sends a request and reads the answer.
func (c *Client) exchange(req *http.Request, do call) error {
	res, err := c.http.Do(req)
	if err != nil {
		return notAnswered(do.op, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, longestAnswer))
	if err != nil {
		return notAnswered(do.op, err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return c.refused(do.op, req, res, body)
	}
	if do.answer == nil {
		return nil
	}
	if err := json.Unmarshal(body, do.answer); err != nil {
		return &Error{
			Op: do.op, Kind: ErrOutcomeUnknown, Code: res.StatusCode,
			Message: "the answer cannot be read; is this the API server?", cause: err,
		}
	}
	return nil
}

// noTurn is the error of a call that was not sent, because its context ended first or would have.
func (c *Client) noTurn(op string, err error) *Error {
	wait := time.Minute / time.Duration(c.cfg.RequestsPerMinute)
	return &Error{
		Op: op, Kind: ErrTooManyRequests, RetryAfter: wait,
		Message: "not sent, because the requests before it use up our share of the limit", cause: err,
	}
}

// notMade is the error of a call that cannot be made as we are configured.
func (c *Client) notMade(op string, err error) *Error {
	e := &Error{Op: op, Kind: ErrRejected, Message: err.Error(), cause: err}
	var token *tokenError
	if errors.As(err, &token) {
		e.Kind, e.token = ErrNoToken, c.cfg.Token.from()
	}
	return e
}

// tokenError is that the token cannot be read.
type tokenError struct{ err error }

// Error says why.
func (e *tokenError) Error() string { return "token: " + e.err.Error() }

// Unwrap is the cause.
func (e *tokenError) Unwrap() error { return e.err }

func (c *Client) request(ctx context.Context, do call) (*http.Request, error) {
	target := c.cfg.Server + do.path
	org, err := c.org(do.org)
	if err != nil {
		return nil, err
	}
	if org != "" {
		target += "?" + url.Values{"org_id": {org}}.Encode()
	}
	var body io.Reader
	if do.body != nil {
		encoded, err := json.Marshal(do.body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, do.method, target, body)
	if err != nil {
		return nil, err
	}
	return req, c.head(req, do)
}

func (c *Client) head(req *http.Request, do call) error {
	token, err := c.cfg.Token.Read()
	if err != nil {
		return &tokenError{err}
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if do.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if do.requestID != "" {
		req.Header.Set("X-Request-Id", do.requestID)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "rollcall")
	return nil
}

// org is the organisation to ask for: the caller's, or else the configuration's.
func (c *Client) org(id string) (string, error) {
	if id == "" {
		id = c.cfg.Organization
	}
	return organization(id)
}

// noTokenText is what Flight Control answers with 400 to a call without a token.
const noTokenText = "failed to get auth token"

// refused is the error of an answer that is no success.
func (c *Client) refused(op string, req *http.Request, res *http.Response, body []byte) *Error {
	e := &Error{Op: op, Code: res.StatusCode, Kind: kindOf(res.StatusCode), Message: message(body)}
	switch {
	case errors.Is(e.Kind, ErrTooManyRequests):
		e.RetryAfter = c.retryAfter(res.Header.Get("Retry-After"))
		c.requests.stop(e.RetryAfter)
	case res.StatusCode == http.StatusBadRequest && req.Header.Get("Authorization") == "" &&
		strings.Contains(e.Message, noTokenText):
		e.Kind = ErrNoToken
	case errors.Is(e.Kind, ErrUnauthorized):
		e.token = c.cfg.Token.from()
		token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
		if end, ok := c.tokenEnd(token); ok && !end.After(c.cfg.Clock.Now()) {
			e.Kind, e.Message = ErrTokenExpired, "it ended at "+end.UTC().Format(time.RFC3339)
		}
	}
	return e
}

func kindOf(code int) error {
	switch {
	case code == http.StatusUnauthorized:
		return ErrUnauthorized
	case code == http.StatusForbidden:
		return ErrForbidden
	case code == http.StatusNotFound:
		return ErrNotFound
	case code == http.StatusConflict:
		return ErrConflict
	case code == http.StatusTooManyRequests:
		return ErrTooManyRequests
	case code >= 500:
		return ErrOutcomeUnknown
	}
	return ErrRejected
}

// retryAfter is what a Retry-After asks for, in seconds or as a time.
func (c *Client) retryAfter(header string) time.Duration {
	if seconds, err := strconv.Atoi(header); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(c.cfg.Clock.Now()))
	}
	return defaultPause
}

// message is what a Status object says, or the beginning of an answer that is none.
func message(body []byte) string {
	var status struct{ Message string }
	if err := json.Unmarshal(body, &status); err == nil && status.Message != "" {
		return status.Message
	}
	const enough = 200
	text := strings.ToValidUTF8(strings.TrimSpace(string(body)), "?")
	if len(text) > enough {
		text = strings.ToValidUTF8(text[:enough], "") + "…"
	}
	return text
}
