package flightctl

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

func (c *Client) checkStore(ctx context.Context) []Finding {
	info, err := c.store.Info(ctx).Result()
	if err != nil {
		return []Finding{c.storeFailure(err)}
	}
	fields := infoFields(info)
	found := []Finding{{
		Subject: SubjectStore, Level: OK, Text: c.cfg.StoreAddress + " answers", Version: storeVersion(fields),
	}}
	if policy := fields["maxmemory_policy"]; strings.HasPrefix(policy, "allkeys-") && fields["maxmemory"] != "0" {
		found = append(found, Finding{
			Subject: SubjectStore, Level: Warning,
			Text:   "it may drop keys of waiting devices when it is full (maxmemory-policy " + policy + ")",
			Advice: "nothing, while it has memory: keys that are lost are put back while devices wait",
		})
	}
	if f := readOnly(fields); f != nil {
		found = append(found, *f)
	}
	return append(found, c.checkListeners(ctx)...)
}

func (c *Client) storeFailure(err error) Finding {
	f := Finding{Subject: SubjectStore, Level: Failed, Text: c.storeError("ask for its version", err).Error()}
	f.Advice = "see whether it runs, and whether " + EnvStoreAddress + " is right"
	if text := err.Error(); strings.HasPrefix(text, "WRONGPASS") || strings.HasPrefix(text, "NOAUTH") {
		f.Advice = "set " + EnvStorePasswordFile + " to a file with the password that Flight Control uses"
	}
	return f
}

// readOnly finds a replica, on which keys cannot be written.
func readOnly(fields map[string]string) *Finding {
	if fields["role"] != "slave" {
		return nil
	}
	return &Finding{
		Subject: SubjectStore, Level: Failed, Text: "it is a replica, which takes no keys",
		Advice: "set " + EnvStoreAddress + " to the primary, " + fields["master_host"] + ":" + fields["master_port"],
	}
}

// checkListeners looks for an API server on the channel on which held polls are ended. Without one the store is that of
// another Flight Control, or its API servers do not run.
func (c *Client) checkListeners(ctx context.Context) []Finding {
	listeners, err := c.store.PubSubNumSub(ctx, wakeChannel).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return []Finding{c.storeFailure(err)}
	}
	if n := listeners[wakeChannel]; n > 0 {
		return []Finding{
			{Subject: SubjectStore, Level: OK, Text: "API servers that listen there: " + strconv.FormatInt(n, 10)},
		}
	}
	return []Finding{{
		Subject: SubjectStore, Level: Warning, Text: "no API server of Flight Control listens there",
		Advice: "start Flight Control's services, or set " + EnvStoreAddress + " to the store that they use",
	}}
}

func infoFields(info string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

// storeVersion is the store's own version: Valkey says beside it which Redis it stands for.
func storeVersion(fields map[string]string) string {
	if v := fields["valkey_version"]; v != "" {
		return "Valkey " + v
	}
	if v := fields["redis_version"]; v != "" {
		return "Redis " + v
	}
	return ""
}
