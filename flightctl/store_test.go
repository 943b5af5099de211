package flightctl

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

const (
	otherOrg = "11111111-2222-3333-4444-555555555555"
	wakeText = `{"body":"{\"org_id\":\"` + org + `\",\"name\":\"web-1\",\"type\":\"spec-updated\"}"}`
)

func TestKeysAreThoseThatFlightControlReads(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{}`))
	// SETNX would leave this one, and its device would wait for ever.
	require.NoError(t, b.store.Set("v1/"+org+"/device/web-2/awaiting-reconnect", "yes"))

	missing, err := b.client.MissingAwaiting(t.Context(), "", []string{"web-1", "web-2"})
	require.NoError(t, err)
	require.Equal(t, []string{"web-1", "web-2"}, missing, "the default organisation, where none is named")
	require.NoError(t, b.client.MarkAwaiting(t.Context(), "", []string{"web-1", "web-2"}))
	b.store.CheckGet(t, "v1/"+org+"/device/web-1/awaiting-reconnect", "true")
	b.store.CheckGet(t, "v1/"+org+"/device/web-2/awaiting-reconnect", "true")
	require.Zero(t, b.store.TTL("v1/"+org+"/device/web-1/awaiting-reconnect"))

	missing, err = b.client.MissingAwaiting(t.Context(), "default", []string{"web-3", "web-1", "web-0"})
	require.NoError(t, err)
	require.Equal(t, []string{"web-3", "web-0"}, missing)
	missing, err = b.client.MissingAwaiting(t.Context(), otherOrg, []string{"web-1"})
	require.NoError(t, err)
	require.Equal(t, []string{"web-1"}, missing, "another organisation's device of the same name")
	require.Error(t, b.client.MarkAwaiting(t.Context(), "no-uuid", []string{"web-1"}))
}

func TestKeysOfALargeFleet(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{}`))
	all := names(1201)
	require.NoError(t, b.client.MarkAwaiting(t.Context(), org, all))
	b.store.Del(awaitingKey(org, all[1200]))
	missing, err := b.client.MissingAwaiting(t.Context(), org, all)
	require.NoError(t, err)
	require.Equal(t, all[1200:], missing)
}

func TestAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{}`))
	b.store.Close()
	require.ErrorIs(t, b.client.MarkAwaiting(t.Context(), org, []string{"web-1"}), ErrStore)
	_, err := b.client.MissingAwaiting(t.Context(), org, []string{"web-1"})
	require.ErrorIs(t, err, ErrStore, "unknown is not missing")
	require.ErrorIs(t, b.client.Wake(t.Context(), org, []string{"web-1"}), ErrStore)
}

func TestWakesArePaced(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{}`))
	began := b.clock.Now()
	require.NoError(t, b.client.Wake(t.Context(), org, names(1000)))
	require.InDelta(t, 9.5, b.clock.Now().Sub(began).Seconds(), 0.1, "100 in a second, after a burst of 50")
}

// TestWithARealStore runs what the client says to the store against the program that Debian has for it.
func TestWithARealStore(t *testing.T) {
	t.Parallel()
	b := setup(t, says(`{}`))
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte("adversary\n"), 0o600))
	b.cfg.StoreAddress = startRedis(t, "friend")
	b.cfg.StorePassword = SecretFile(password)
	client := b.open(t)

	err := client.MarkAwaiting(t.Context(), org, []string{"web-1"})
	require.ErrorContains(t, err, "does not accept the password (set ROLLCALL_FLIGHTCTL_KV_PASSWORD")
	require.NotContains(t, err.Error(), "adversary")
	require.NoError(t, os.WriteFile(password, []byte("friend\n"), 0o600))
	require.NoError(t, client.MarkAwaiting(t.Context(), org, names(501)), "the new password counts without a restart")

	direct := redis.NewClient(&redis.Options{Addr: b.cfg.StoreAddress, Password: "friend"})
	t.Cleanup(func() { _ = direct.Close() })
	listener := direct.Subscribe(t.Context(), wakeChannel)
	t.Cleanup(func() { _ = listener.Close() })
	_, err = listener.Receive(t.Context())
	require.NoError(t, err)
	require.NoError(t, client.Wake(t.Context(), org, []string{"web-1"}))
	message, err := listener.ReceiveMessage(t.Context())
	require.NoError(t, err)
	require.Equal(t, wakeText, message.Payload)

	missing, err := client.MissingAwaiting(t.Context(), org, append(names(501), "web-none"))
	require.NoError(t, err)
	require.Equal(t, []string{"web-none"}, missing)
	require.NoError(t, direct.FlushAll(t.Context()).Err())
	missing, err = client.MissingAwaiting(t.Context(), org, names(501))
	require.NoError(t, err)
	require.Len(t, missing, 501)

	found := client.checkStore(t.Context())
	require.Equal(t, OK, found[0].Level)
	require.Contains(t, found[0].Version, "Redis ")
	require.Contains(t, texts(found), "API servers that listen there: 1")
}

// startRedis runs redis-server until the test ends, and returns its address.
func startRedis(t *testing.T, password string) string {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	require.NoError(t, err, "run make tools, which installs it")
	address := freeAddress(t)
	cmd := exec.Command(program, "--port", port(address), "--bind", "127.0.0.1", "--requirepass", password, "--save", "",
		"--appendonly", "no", "--dir", t.TempDir())
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	client := redis.NewClient(&redis.Options{Addr: address, Password: password})
	t.Cleanup(func() { _ = client.Close() })
	require.Eventually(t, func() bool {
		return client.Ping(context.Background()).Err() == nil
	}, 2*time.Minute, 20*time.Millisecond)
	return address
}
