package agentapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/stretchr/testify/require"

	"rollcall/internal/authority"
	"rollcall/inventory"
)

// A request to renew a certificate is read or refused. What is read names the device and a signer that signs here.
func FuzzDecodeSigningRequest(f *testing.F) {
	f.Add([]byte(``))
	f.Add([]byte(`{"apiVersion": "flightctl.io/v1beta1", "kind": "CertificateSigningRequest",
		"metadata": {"name": "web-1-x"}, "spec": {"signerName": "flightctl.io/device-management-renewal",
		"request": "LS0t", "usages": ["clientAuth"], "expirationSeconds": 60}}`))
	f.Add([]byte(`{"kind": "CertificateSigningRequest", "apiVersion": "v1beta1", "spec": null, "metadata": null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		in, err := decodeSigningRequest(body, "web-1")
		if err != nil {
			require.Equal(t, http.StatusBadRequest, asProblem(err).code)
			return
		}
		require.True(t, strings.HasPrefix(in.Metadata.Name, "web-1-"))
		require.Equal(t, authority.SignerRenewal, in.spec.SignerName)
		require.True(t, in.spec.ExpirationSeconds == nil || *in.spec.ExpirationSeconds > 0)
	})
}

// A JSON patch is applied or refused, and makes no more of a device than a body may hold.
func FuzzPatch(f *testing.F) {
	for _, patch := range []string{
		``, `[]`, `[{"op": "replace", "path": "/status/config/renderedVersion", "value": "7"}]`,
		`[{"op": "add", "path": "/status/a", "value": {"b": 1}}, {"op": "copy", "from": "/status", "path": "/status/c"}]`,
		`[{"op": "remove", "path": ""}]`, `[{"op": "move", "from": "/status", "path": "/spec/status"}]`, `[null]`,
		`[{"op": "test", "path": "/status", "value": null}]`, `[{"op": "add", "path": "/status/-1", "value": 1}]`,
	} {
		f.Add([]byte(patch))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		patch, err := jsonpatch.DecodePatch(body)
		if err != nil {
			return
		}
		setsVersion(patch)
		device := inventory.Resource{
			APIVersion: inventory.APIVersion, Kind: inventory.KindDevice,
			Status: json.RawMessage(`{"config": {"renderedVersion": "5"}}`),
		}
		device.Metadata.Name = "web-1"
		text, err := applyPatch(device, patch)
		if err != nil {
			require.Less(t, asProblem(err).code, http.StatusInternalServerError)
			return
		}
		require.LessOrEqual(t, len(text), maxBody)
		_, _ = decodeStatus(text, "web-1") // it does not panic; FuzzDecodeStatus says what it returns
	})
}
