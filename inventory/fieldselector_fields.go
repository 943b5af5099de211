package inventory

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

// selectableField is a field that can be selected: either a column, or a place in the JSON of the status column.
type selectableField struct {
	kind   fieldKind
	column string
	path   []string
	// namesOf is the table whose rows are long and have this field in their primary key, after the organisation.
	namesOf string
}

func column(kind fieldKind, name string) selectableField {
	return selectableField{kind: kind, column: name}
}

func status(kind fieldKind, path ...string) selectableField {
	return selectableField{kind: kind, path: path}
}

// selectable holds the fields that Flight Control lets select, by resource. The columns are those of the queries in
// query.go, where r is the resource's own table.
var selectable = map[string]map[string]selectableField{
	"devices": {
		"metadata.name":                     {kind: stringField, column: "r.name", namesOf: "devices"},
		"metadata.alias":                    column(stringField, "r.alias"),
		"metadata.owner":                    column(stringField, "r.owner"),
		"metadata.creationTimestamp":        column(timeField, "r.created_at"),
		"status.summary.status":             status(stringField, "summary", "status"),
		"status.updated.status":             status(stringField, "updated", "status"),
		"status.lifecycle.status":           status(stringField, "lifecycle", "status"),
		"status.applicationsSummary.status": status(stringField, "applicationsSummary", "status"),
		"status.lastSeen":                   column(timeField, "seen.last_seen"),
	},
	"fleets": {
		"metadata.name":              column(stringField, "r.name"),
		"metadata.owner":             column(stringField, "r.owner"),
		"metadata.creationTimestamp": column(timeField, "r.created_at"),
	},
	"enrollmentrequests": {
		"metadata.name":              column(stringField, "r.name"),
		"metadata.creationTimestamp": column(timeField, "r.created_at"),
		"status.approval.approved":   status(boolField, "approval", "approved"),
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

// SelectableFields lists the fields that ParseFieldSelector knows for kind, in alphabetical order; none where there is no
// such kind.
func SelectableFields(kind string) []string {
	return slices.Sorted(maps.Keys(selectable[kind]))
}
