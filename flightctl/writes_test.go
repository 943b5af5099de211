package flightctl

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// tapped is the way to the API of a client, on which the first request waits for the test.
type tapped struct {
	http.RoundTripper
	sent chan *http.Request
	pass chan struct{}
}

func tap(c *Client) *tapped {
	t := &tapped{RoundTripper: c.http.Transport, sent: make(chan *http.Request, 1), pass: make(chan struct{})}
	c.http.Transport = t
	return t
}

func (t *tapped) RoundTrip(r *http.Request) (*http.Response, error) {
	t.sent <- r
	<-t.pass
	return t.RoundTripper.RoundTrip(r)
}

// Flight Control breaks off what it does for a caller that has gone, and a resume that ends so renders nothing.
func TestAWriteGoesOnWhenItsCallerHasGone(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{"resumedDevices": 1}`))
	way := tap(b.client)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := b.client.Resume(ctx, org, []string{"web-1"}, "id"); ended <- err }()
	request := <-way.sent
	cancel()
	require.ErrorIs(t, <-ended, ErrOutcomeUnknown, "the caller does not wait any longer")
	require.NoError(t, request.Context().Err(), "and the request goes on")

	closed := make(chan struct{})
	go func() { defer close(closed); _ = b.client.Close() }()
	select {
	case <-closed:
		require.Fail(t, "Close has not waited for the request")
	default:
	}
	close(way.pass)
	<-closed
	require.Len(t, b.requests(), 1, "the request was served before the connections were closed")
}

func TestAReadEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{"preferred_username": "rollcall"}`))
	way := tap(b.client)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := b.client.User(ctx, org); ended <- err }()
	request := <-way.sent
	cancel()
	require.ErrorIs(t, request.Context().Err(), context.Canceled)
	close(way.pass)
	require.ErrorIs(t, <-ended, context.Canceled)
}

func TestAWriteWhoseCallerHasGoneBeforeIsNotSent(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{"resumedDevices": 1}`))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.client.Resume(ctx, org, []string{"web-1"}, "id")
	require.ErrorIs(t, err, ErrTooManyRequests, "not sent")
	require.Empty(t, b.requests())
	require.NoError(t, b.client.Close())
}
