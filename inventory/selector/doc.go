// Package selector reads what a person selects, labels by Kubernetes' label selectors and fields by Flight Control's
// field selectors, and writes it as the terms of an SQL WHERE clause.
//
// Where to look: fields.go and parse.go read field selectors, selectable.go lists the fields that there are,
// fields_sql.go writes them in SQL, and conditions.go does that for labels and collects the terms.
package selector
