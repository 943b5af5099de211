package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestThePolicyIsReadFromTheEnvironment(t *testing.T) {
	t.Setenv("ROLLCALL_MAX_SHARE", "10%")
	t.Setenv("ROLLCALL_REQUIRE_REASON", "true")
	var o options
	require.NoError(t, o.readPolicy())
	require.Equal(t, runbook.ResumePolicy{RequireReason: true, MaxShare: 0.1}, o.policy)

	flagged := options{policy: runbook.ResumePolicy{MaxShare: 0.5}}
	require.NoError(t, flagged.readPolicy())
	require.InDelta(t, 0.5, flagged.policy.MaxShare, 1e-9, "a flag counts more")

	t.Setenv("ROLLCALL_REQUIRE_REASON", "perhaps")
	require.ErrorContains(t, (&options{}).readPolicy(), `ROLLCALL_REQUIRE_REASON is "perhaps"`)
	t.Setenv("ROLLCALL_MAX_SHARE", "10")
	require.ErrorContains(t, (&options{}).readPolicy(), "ROLLCALL_MAX_SHARE: share")
}
