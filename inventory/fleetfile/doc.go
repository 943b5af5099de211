// Package fleetfile decodes devices, fleets and enrollment requests as Flight Control's command line prints them, in
// YAML and in JSON. It reads a stream resource by resource and keeps each field of spec and status as it is written,
// every digit of it. It stores nothing: that is package inventory's part.
//
// Where to look: decode.go walks the documents and passes on resources, stream.go divides the stream into documents,
// json_stream.go and yaml_stream.go take a document apart, item by item where it is a list (listing.go), yaml.go and
// yaml_map.go translate YAML to JSON, json.go cuts JSON into its parts, and head.go, record.go and fields.go read a
// resource from them.
package fleetfile

// APIVersion is the version of Flight Control's API in which resources are shown.
const APIVersion = "flightctl.io/v1beta1"

// Kinds of resources that a file may hold, as their API form names them. A list's kind is the kind with "List" behind
// it.
const (
	KindDevice            = "Device"
	KindFleet             = "Fleet"
	KindEnrollmentRequest = "EnrollmentRequest"
)
