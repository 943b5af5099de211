package faults

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A device of which starter does not know what became of it has not refused: the command's exit code does not tell the
// two apart.
func TestWhatStarterSaysOfADevice(t *testing.T) {
	t.Parallel()
	for output, want := range map[string]Answer{
		`{"resumed":["a"],"refused":[],"unknown":[]}`:                                  Accepted,
		`{"resumed":[],"refused":[{"name":"a","code":"VersionChanged"}],"unknown":[]}`: Refused,
		`{"resumed":[],"refused":[],"unknown":[{"name":"a","code":"OutcomeUnknown"}]}`: Unknown,
		`{"resumed":[],"refused":[],"unknown":[],"notAsked":["a"]}`:                    Unknown,
		`{"resumed":[],"refused":[{"name":"a","code":"NoRollCall"}],"unknown":[]}`:     Unknown,
		`{"approved":["a"],"refused":[],"unknown":[]}`:                                 Accepted,
		`{"denied":[],"refused":[{"name":"a","code":"AlreadyDenied"}],"unknown":[]}`:   Refused,
		`{"resu`: Unknown,
		``:       Unknown,
	} {
		answer, _ := toldBy([]byte(output))
		require.Equal(t, want, answer, output)
	}
}
