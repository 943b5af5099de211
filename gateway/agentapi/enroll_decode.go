package agentapi

import (
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"rollcall/inventory"
	"rollcall/runbook"
)

// decodeRequest reads an EnrollmentRequest. Fields that are not known are let through; of the metadata only name and
// labels count, and a status is not the agent's to bring. What cannot be read is a *Refusal, which becomes a 400.
func decodeRequest(body []byte) (in inventory.SubmitRequestInput, err error) {
	request, err := object("the body", body)
	if err != nil {
		return in, err
	}
	if err := isRequest(request); err != nil {
		return in, err
	}
	metadata, err := object("metadata", orNull(request["metadata"]))
	if err != nil {
		return in, err
	}
	if in.Name, err = text("metadata.name", metadata["name"]); err != nil {
		return in, err
	}
	if wrong := validation.IsDNS1123Subdomain(in.Name); len(wrong) > 0 {
		return in, invalid("metadata.name: %q is not a name: %s", printable(in.Name), strings.Join(wrong, "; "))
	}
	if in.Labels, err = labels("metadata.labels", metadata["labels"]); err != nil {
		return in, err
	}
	in.Spec = request["spec"]
	return in, decodeRequestSpec(&in)
}

func isRequest(request map[string]json.RawMessage) error {
	kind, err := text("kind", request["kind"])
	if err != nil {
		return err
	}
	if kind != inventory.KindEnrollmentRequest {
		return invalid("kind: %q is not %s", printable(kind), inventory.KindEnrollmentRequest)
	}
	version := ""
	if raw := request["apiVersion"]; !isNull(raw) {
		if version, err = text("apiVersion", raw); err != nil {
			return err
		}
	}
	if !runbook.IsAPIVersion(version) {
		return invalid("apiVersion: %q is not of Flight Control, whose present one is %s", printable(version),
			inventory.APIVersion)
	}
	return nil
}

// decodeRequestSpec reads what counts of a spec that is stored as it came.
func decodeRequestSpec(in *inventory.SubmitRequestInput) error {
	spec, err := object("spec", orNull(in.Spec))
	if err != nil {
		return err
	}
	if in.CSR, err = text("spec.csr", spec["csr"]); err != nil {
		return err
	}
	u := runbook.CheckSigning(runbook.ModeStandalone, in.Name, inventory.SigningRequest(in.CSR))
	if u != nil {
		return invalid("spec.csr: the request %s", u.Message)
	}
	if raw := spec["deviceStatus"]; !isNull(raw) {
		if _, err := object("spec.deviceStatus", raw); err != nil {
			return err
		}
	}
	if _, err := labels("spec.labels", spec["labels"]); err != nil {
		return err
	}
	in.Known, err = knownVersion(spec["knownRenderedVersion"])
	return err
}

// knownVersion reads a version that is a string or a number. A number counts as it is written. One that is not a
// version is no reason to turn an agent away, which would post its request for ever. Its device waits, as
// runbook.EnrolledState says.
func knownVersion(raw json.RawMessage) (string, error) {
	if isNull(raw) {
		return "", nil
	}
	var number json.Number
	version := ""
	if raw[0] != '"' && json.Unmarshal(raw, &number) == nil {
		version = number.String()
	} else if json.Unmarshal(raw, &version) != nil {
		return "", invalid("spec.knownRenderedVersion is neither a string nor a number")
	}
	return version, nil
}

// labels reads an object of labels; none and null are none.
func labels(what string, raw json.RawMessage) (map[string]string, error) {
	if isNull(raw) {
		return nil, nil
	}
	fields, err := object(what, raw)
	if err != nil {
		return nil, err
	}
	read := make(map[string]string, len(fields))
	for name, raw := range fields {
		value, err := text(what+"."+printable(name), raw)
		if err != nil {
			return nil, err
		}
		if wrong := append(validation.IsQualifiedName(name), validation.IsValidLabelValue(value)...); len(wrong) > 0 {
			return nil, invalid("%s: %q=%q is not a label: %s", what, printable(name), printable(value),
				strings.Join(wrong, "; "))
		}
		read[name] = value
	}
	return read, nil
}

// text reads a JSON string.
func text(what string, raw json.RawMessage) (string, error) {
	if isNull(raw) {
		return "", invalid("%s is missing", what)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", invalid("%s is not a string", what)
	}
	return s, nil
}

// orNull is a field that may be missing, as object reads it.
func orNull(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("null")
	}
	return raw
}

func invalid(format string, args ...any) error {
	return runbook.Refuse(runbook.CodeInvalidRequest, format, args...)
}
