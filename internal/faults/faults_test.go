package faults

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/internal/devenv"
	"rollcall/internal/devenv/devtest"
)

// programs builds what the harness runs, once. With the flags of a plain build most packages are built already.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rollcall-faults-programs-")
	if err != nil {
		return "", err
	}
	if _, err := devenv.OnExit(`rm -rf "$1"`, dir); err != nil {
		return "", err
	}
	// Without symbols they are linked in half the time.
	build := exec.Command("go", "build", "-tags", "faults", "-ldflags", "-s -w", "-o", dir, "./worker", "./gateway",
		"./starter")
	build.Dir, build.Stderr = "../..", os.Stderr
	return dir, build.Run()
})

func TestMain(m *testing.M) { devtest.Main(m) }

// play plays a run in a folder that PostgreSQL's user can reach.
func play(t *testing.T, options Options) Result {
	t.Helper()
	var err error
	options.Programs = programs
	options.Dir, err = os.MkdirTemp("", "rollcall-faults-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(options.Dir, 0o711))
	t.Cleanup(func() {
		if !t.Failed() {
			require.NoError(t, os.RemoveAll(options.Dir))
		}
	})
	result, err := Run(t.Context(), options)
	require.NoError(t, err, "%s\nlogs are in %s", result, options.Dir)
	t.Log(result.Summary())
	return result
}

// given are the servers that the tests of this binary share.
func given(t *testing.T) *Given {
	t.Helper()
	temporal := devtest.Temporal(t)
	return &Given{Database: devtest.Database(t), Temporal: temporal.Address, Namespace: temporal.Namespace}
}

// A selection of what `make faults` does, for every test run.
func TestNothingIsLostUnderFaults(t *testing.T) {
	t.Parallel()
	if os.Getenv(long) != "" {
		t.Skip("the long run does more")
	}
	result := play(t, Options{Seed: 20, For: 20 * time.Second, Devices: 15, Actors: 5})
	require.False(t, result.Bad(), result)
	require.Greater(t, len(result.Calls), 50, "little was done: %s", result)
}

// The same beside Flight Control: workers and Flight Control are killed, and its key-value store goes away.
func TestNothingIsLostBesideFlightControl(t *testing.T) {
	t.Parallel()
	if os.Getenv(long) != "" {
		t.Skip("the long run does more")
	}
	result := play(t, Options{Seed: 7, For: 15 * time.Second, Devices: 20, Actors: 6, Beside: true, Given: given(t)})
	require.False(t, result.Bad(), result)
	require.Greater(t, len(result.Calls), 40, "little was done: %s", result)
}

// The harness finds each planted bug, with seeds that differ where chance has not met it. What ends a run is the
// number of its calls, so that a slow machine does as much as a quick one.
func TestPlantedBugsAreFound(t *testing.T) {
	t.Parallel()
	if os.Getenv(long) != "" {
		t.Skip("they are for every test run")
	}
	for _, bug := range []string{
		"resume-twice", "lost-report", "foreign-message", "resume-others", "approve-twice", "plan-lies",
	} {
		t.Run(bug, func(t *testing.T) {
			t.Parallel()
			options := Options{For: 2 * time.Minute, Calls: 200, Devices: 20, Actors: 10, Calm: true, Bug: bug}
			if bug == "resume-others" {
				options.Beside, options.For, options.Calls = true, 15*time.Second, 100
			}
			for options.Seed = range uint64(8) {
				options.Given = given(t)
				result := play(t, options)
				if len(result.Illegal) > 0 {
					return
				}
			}
			require.Fail(t, "the bug was not found")
		})
	}
}

// The variables of the long run: how long, and with which seed it begins.
const (
	long     = "ROLLCALL_FAULTS_FOR"
	longSeed = "ROLLCALL_FAULTS_SEED"
)

// TestLong is `make faults`: one run of a hundred devices or more after the other, each with the next seed.
func TestLong(t *testing.T) {
	if os.Getenv(long) == "" {
		t.Skip("use make faults")
	}
	whole, err := time.ParseDuration(os.Getenv(long))
	require.NoError(t, err, long)
	seed := rand.Uint64N(1 << 32)
	if text := os.Getenv(longSeed); text != "" {
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, longSeed)
	}
	ctx, cancel := context.WithTimeout(t.Context(), whole)
	defer cancel()
	for ; ctx.Err() == nil; seed++ {
		options := Options{Seed: seed, For: time.Minute, Devices: 50, Actors: 10}
		other := seed/3%2 == 1
		switch seed % 3 {
		case 0:
			options.Cancel = other
		case 1:
			options.Disasters, options.For = true, 90*time.Second
			if other { // fewer calls about each device, as most are open once PostgreSQL was put back
				options.PutBacks, options.Devices, options.Actors = true, 120, 6
			}
		case 2:
			options.Beside, options.Given = true, given(t)
		}
		result := play(t, options)
		require.False(t, result.Bad(), result)
	}
}
