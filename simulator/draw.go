package simulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"
)

// dice are the random numbers of one decision. Each decision has dice of its own, so that it does not depend on how
// many others were made before it.
func dice(seed uint64, decision ...string) *rand.Rand {
	h := fnv.New64a()
	for _, word := range decision {
		// A hash takes all that it is given.
		_, _ = h.Write([]byte(word))
		_, _ = h.Write([]byte{0})
	}
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// throw are the dice of the agent's n-th decision of a kind.
func (a *agent) throw(kind string, n int64) *rand.Rand {
	return dice(a.fleet.cfg.Seed, a.plan.Name, kind, strconv.FormatInt(n, 10))
}

// in draws a time from the range, in seconds of the scenario.
func (r Range) in(d *rand.Rand) float64 { return r.From + d.Float64()*(r.To-r.From) }

// paced is how long a time of the scenario takes at the fleet's pace.
func (f *Fleet) paced(seconds float64) time.Duration {
	return time.Duration(seconds * f.cfg.Pace * float64(time.Second))
}

// keyOf makes the key of an agent that enrolls. It is drawn, too: the same seed makes the same key, and a key makes a
// device's name. Such a key is for simulations only.
func keyOf(seed uint64, name string) (*ecdsa.PrivateKey, error) {
	d := dice(seed, name, "key")
	var raw [32]byte
	for {
		for i := range raw {
			raw[i] = byte(d.Uint32())
		}
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw[:])
		if err == nil || raw[0] != 0xff { // numbers past the curve's order begin so, and are drawn again
			return key, err
		}
	}
}
