package runbook_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rollcall/runbook"
)

func TestEachSpellingOfTheAPIVersion(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", "v1beta1", "v1alpha1", "flightctl.io/v1beta1", "flightctl.io/v1alpha1"} {
		require.True(t, runbook.IsAPIVersion(version), version)
	}
	for _, version := range []string{
		"v1", "V1beta1", "flightctl.io", "flightctl.io/", "flightctl.io/v1/x", "apps/v1beta1", " v1beta1",
	} {
		require.False(t, runbook.IsAPIVersion(version), version)
	}
}
