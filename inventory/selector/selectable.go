package selector

import (
	"maps"
	"slices"
)

// fieldKind is the type of a field that can be selected; it decides which operators there are.
type fieldKind string

const (
	stringField fieldKind = "string"
	timeField   fieldKind = "timestamp"
	boolField   fieldKind = "boolean"
)

// The operators of field selectors.
const (
	opEquals      = "="
	opNotEquals   = "!="
	opIn          = "in"
	opNotIn       = "notin"
	opExists      = "exists"
	opNotExists   = "!"
	opContains    = "contains"
	opNotContains = "notcontains"
	opAfter       = ">"
	opNotBefore   = ">="
	opBefore      = "<"
	opNotAfter    = "<="
)

var operatorsOf = map[fieldKind][]string{
	stringField: {opEquals, opNotEquals, opIn, opNotIn, opExists, opNotExists, opContains, opNotContains},
	timeField:   {opEquals, opNotEquals, opIn, opNotIn, opExists, opNotExists, opAfter, opNotBefore, opBefore, opNotAfter},
	boolField:   {opEquals, opNotEquals, opIn, opNotIn, opExists, opNotExists},
}

// selectableField is a field that can be selected: either a column, or a place in the JSON of a column.
type selectableField struct {
	kind   fieldKind
	column string
	// or is a second column, which may have the value as well; the first must never be NULL then.
	or string
	// path leads to the field in the JSON of the column.
	path []string
	// waits reports whether the field says that a device waits for its roll call, which one that was withdrawn does not.
	waits bool
	// values are all that the field can have; nil is any.
	values []string
	// namesOf is the table whose rows are long and have this field in their primary key, after the organisation.
	namesOf string
}

func column(kind fieldKind, name string) selectableField {
	return selectableField{kind: kind, column: name}
}

func status(kind fieldKind, path ...string) selectableField {
	return selectableField{kind: kind, column: "r.status", path: path}
}

// oneOf is a field of the status that has one of a few values.
func oneOf(values []string, path ...string) selectableField {
	return selectableField{kind: stringField, column: "r.status", path: path, values: values}
}

// waiting is a field that says whether a device waits.
func waiting(f selectableField) selectableField {
	f.waits = true
	return f
}

// The values that Flight Control's API knows, by field of a device's status.
var (
	summaries = []string{
		"Online", "Degraded", "Error", "Rebooting", "PoweredOff", "Unknown", "AwaitingReconnect", "ConflictPaused",
	}
	updates      = []string{"UpToDate", "OutOfDate", "Updating", "Unknown"}
	lifecycles   = []string{"Unknown", "Enrolled", "Decommissioning", "Decommissioned"}
	applications = []string{"Healthy", "Degraded", "Error", "Unknown", "NoApplications"}
	osModes      = []string{"image", "package"}
)

// selectable holds the fields that Flight Control lets select, by resource. The columns are those of the queries in
// query.go, where r is the resource's own table.
var selectable = map[string]map[string]selectableField{
	"devices": {
		"metadata.name":                     {kind: stringField, column: "r.name", namesOf: "devices"},
		"metadata.alias":                    column(stringField, "r.alias"),
		"metadata.owner":                    column(stringField, "r.owner"),
		"metadata.creationTimestamp":        column(timeField, "r.created_at"),
		"metadata.nameOrAlias":              {kind: stringField, column: "r.name", or: "r.alias"},
		"status.summary.status":             waiting(oneOf(summaries, "summary", "status")),
		"status.updated.status":             oneOf(updates, "updated", "status"),
		"status.lifecycle.status":           oneOf(lifecycles, "lifecycle", "status"),
		"status.applicationsSummary.status": oneOf(applications, "applicationsSummary", "status"),
		"status.capabilities.osMode":        oneOf(osModes, "capabilities", "osMode"),
	},
	"fleets": {
		"metadata.name":              column(stringField, "r.name"),
		"metadata.owner":             column(stringField, "r.owner"),
		"metadata.creationTimestamp": column(timeField, "r.created_at"),
		"spec.template.spec.os.image": {
			kind:   stringField,
			column: "r.spec", path: []string{"template", "spec", "os", "image"},
		},
	},
	"enrollmentrequests": {
		"metadata.name":              column(stringField, "r.name"),
		"metadata.creationTimestamp": column(timeField, "r.created_at"),
		"status.approval.approved":   status(boolField, "approval", "approved"),
		"status.certificate":         status(stringField, "certificate"),
	},
	"events": {
		"metadata.name":              column(stringField, "r.name"),
		"metadata.creationTimestamp": column(timeField, "r.created_at"),
		"reason":                     column(stringField, "r.reason"),
		"type":                       column(stringField, "r.type"),
		"actor":                      column(stringField, "r.actor"),
		"involvedObject.kind":        column(stringField, "r.involved_object_kind"),
		"involvedObject.name":        column(stringField, "r.involved_object_name"),
	},
}

// SelectableFields lists the fields that ParseFieldSelector knows for kind, in alphabetical order; none where there is
// no such kind.
func SelectableFields(kind string) []string {
	return slices.Sorted(maps.Keys(selectable[kind]))
}
