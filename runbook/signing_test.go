package runbook_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestCheckSigning(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		request     runbook.SigningRequest
		here, there runbook.UnsignableReason
		says        string
	}{
		"its own": {runbook.SigningRequest{Device: "er-1"}, "", "", ""},
		"another device's": {
			runbook.SigningRequest{Device: "er-2"},
			runbook.UnsignableOtherDevice, runbook.UnsignableOtherDevice,
			`a certificate of "er-2"`,
		},
		"no name": {runbook.SigningRequest{}, runbook.UnsignableOtherDevice, runbook.UnsignableOtherDevice, `of ""`},
		"a TPM's": {
			runbook.SigningRequest{TPM: true}, runbook.UnsignableTPM, "", "only Flight Control's own server signs",
		},
		"not a request": {
			runbook.SigningRequest{Wrong: "it is no PEM"},
			runbook.UnsignableMalformed, runbook.UnsignableMalformed,
			"it is no PEM",
		},
		"a key of a kind that ours does not sign": {
			runbook.SigningRequest{Device: "er-1", WrongHere: "its key is not an ECDSA key"},
			runbook.UnsignableMalformed, "", "not an ECDSA key",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for mode, want := range map[runbook.Mode]runbook.UnsignableReason{
				runbook.ModeStandalone: tc.here, "": tc.here, runbook.ModeFlightctl: tc.there,
			} {
				got := runbook.CheckSigning(mode, "er-1", tc.request)
				pending := runbook.Enrollment{Exists: true, State: runbook.EnrollmentPending, Unsignable: got}
				refusal := runbook.AsRefusal(runbook.MayApprove(pending, "er-1"))
				require.NoError(t, runbook.MayDeny(pending, "er-1"), "what cannot be signed can be denied")
				if want == "" {
					require.Nil(t, got, mode)
					require.Nil(t, refusal)
					continue
				}
				require.Equal(t, want, got.Reason, mode)
				require.Equal(t, runbook.CodeUnsignable, refusal.Code)
				require.Contains(t, refusal.Message, "enrollment request er-1 can never be signed")
				require.Contains(t, refusal.Message, tc.says)
				require.Contains(t, refusal.Message, "nothing was changed")
			}
		})
	}
	long := runbook.CheckSigning("", "er-1", runbook.SigningRequest{Device: strings.Repeat("\x00a", 10_000)})
	require.Less(t, len(long.Message), 2000, "it can be stored whatever a stranger has sent")
}

func TestOtherRefusalsComeBeforeThatItIsUnsignable(t *testing.T) {
	t.Parallel()
	e := runbook.Enrollment{Exists: true, DeviceExists: true, State: runbook.EnrollmentPending}
	e.Unsignable = &runbook.Unsignable{}
	require.Equal(t, runbook.CodeDeviceExists, runbook.AsRefusal(runbook.MayApprove(e, "er-1")).Code)
	e.State = runbook.EnrollmentApproved
	require.Equal(t, runbook.CodeAlreadyApproved, runbook.AsRefusal(runbook.MayApprove(e, "er-1")).Code)
}
