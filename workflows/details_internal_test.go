package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

// Other people's words must not become markup in the details, not even with a backslash before them.
func TestCell(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[x](http://evil)":     `\[x](http://evil)`,
		`\[x](http://evil)`:    `\\\[x](http://evil)`,
		`a\|b`:                 `a\\\|b`,
		"*a* _b_ <c> `d`\ne":   `\*a\* \_b\_ &lt;c> 'd' e`,
		"Fleet template 2.1.4": "Fleet template 2.1.4",
	} {
		require.Equal(t, want, cell(text))
	}
}

func TestDetailsSayWhichSignalWasRefused(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)
	refused := (*runbook.RefusedSignal)(nil).Then("abort", at, runbook.PlanHearsNoSignal("p", "abort"))
	plan := runbook.PlanProgress{PlanID: "p", State: runbook.PlanRunning}
	restore := runbook.RestoreProgress{RestoreID: "r1", State: runbook.RestoreRunning}
	require.NotContains(t, planDetails(plan)+restoreDetails(restore, runbook.RestoreStatus{}, "", "default"), "Refused**")
	plan.RefusedSignal, restore.RefusedSignal = refused, refused.Then("abort", at, runbook.PlanHearsNoSignal("p", "abort"))
	const line = `**Refused**, at 2026-08-01T10:00:00Z: the signal "abort" did nothing`
	require.Contains(t, planDetails(plan), line)
	details := restoreDetails(restore, runbook.RestoreStatus{}, "", "default")
	require.Contains(t, details, line)
	require.Contains(t, details, "(2 signals in all)")
}
