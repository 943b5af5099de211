package workflows_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"rollcall/runbook"
)

// Any signals to an enrollment, in any order: the first one that can be read decides, each is on the timeline, and each
// refusal is in the audit once, under an id of its own.
func TestAnyDecisionsInAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := newEnrollmentNight(t, rapid.SampledFrom([]string{"", "0"}).Draw(rt, "known"))
		n.world.refuseWhatIsNotText = true
		want, sent := runbook.EnrollmentPending, 0
		for range rapid.IntRange(0, 6).Draw(rt, "messages") {
			if want != runbook.EnrollmentPending {
				break
			}
			sent++
			switch rapid.IntRange(0, 5).Draw(rt, "message") {
			case 0:
				n.step(n.signals(runbook.SignalApprove, alice))
				want = runbook.EnrollmentApproved
			case 1:
				n.step(n.signals(runbook.SignalDeny, runbook.DenyRequest{By: "bob"}))
				want = runbook.EnrollmentDenied
			case 2:
				n.step(n.signals(runbook.SignalApprove, runbook.ApproveRequest{By: "a\x00"}))
			case 3:
				n.step(n.signals(runbook.SignalDeny, runbook.DenyRequest{}))
			case 4:
				n.step(n.signals(rapid.StringMatching(`[a-z]{1,6}\x00?`).Draw(rt, "name")+"?", nil))
			case 5:
				n.step(n.signals(runbook.SignalApprove, []string{"alice"}))
			}
		}
		refused := sent - 1
		if want == runbook.EnrollmentPending {
			refused = sent
			n.step(n.signals(runbook.SignalApprove, alice))
			want = runbook.EnrollmentApproved
		}
		require.Equal(t, want, n.ends().Decision.State)
		require.Len(t, n.status().Timeline, refused+1)
		require.Len(t, n.world.refusals, refused)
	})
}
