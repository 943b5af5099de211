package inventory

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/labels"

	"rollcall/inventory/selector"
)

// Equality must be asked by containment: no other form can use Flight Control's GIN indexes on labels and status.
func TestEqualityIsAskedInAFormThatTheIndexesAnswer(t *testing.T) {
	t.Parallel()
	byLabel, err := labels.Parse("env=prod,site in (a,b)")
	require.NoError(t, err)
	fields, err := selector.ParseFieldSelector("devices", "status.summary.status=Online,metadata.owner=Fleet/web")
	require.NoError(t, err)
	c, err := Query{Labels: byLabel, Fields: fields}.conditions("devices")
	require.NoError(t, err)
	require.Equal(t, []string{
		"r.org_id = $1", "r.deleted_at is null", "(r.labels @> $2::jsonb)",
		"(r.labels @> $3::jsonb or r.labels @> $4::jsonb)",
		"(r.status @> $5::jsonb)", "r.owner = $6",
	}, strings.Split(c.Where(), "\n  and "))
	require.Equal(t,
		[]any{`{"env":"prod"}`, `{"site":"a"}`, `{"site":"b"}`, `{"summary":{"status":"Online"}}`, "Fleet/web"}, c.Args[1:])
}
