package board

import (
	"bytes"
	"fmt"
	"maps"

	"rollcall/starter/printer"
)

// goneObject is the line of an object that is no longer there.
type goneObject struct {
	Kind     string            `json:"kind"`
	Metadata map[string]string `json:"metadata"`
	Gone     bool              `json:"gone"`
}

// lines writes each object that has changed as a line of JSON, and then those that are gone. It writes all of them in
// one call, so that a reader never sees a part of a line.
func (r *Rows) lines(t Table) error {
	if r.seen == nil {
		r.seen = map[string]string{}
	}
	var text bytes.Buffer
	there := map[string]bool{}
	for i, object := range t.Objects {
		lasting, err := printer.JSONLine(lastingObject(object))
		if err != nil {
			return err
		}
		key := string(lasting)
		if t.Keys != nil {
			key = t.Keys[i]
		}
		there[key] = true
		if r.seen[key] == string(lasting) {
			continue
		}
		r.seen[key] = string(lasting)
		line, err := printer.JSONLine(object)
		if err != nil {
			return err
		}
		text.Write(line)
	}
	for _, name := range r.gone(t, there) {
		line, err := printer.JSONLine(goneObject{Kind: r.Kind, Metadata: map[string]string{"name": name}, Gone: true})
		if err != nil {
			return err
		}
		text.Write(line)
	}
	if text.Len() == 0 {
		return nil
	}
	if _, err := r.IO.Stdout.Write(text.Bytes()); err != nil {
		return fmt.Errorf("write what has changed: %w", err)
	}
	return nil
}

// lastingObject is what of an object does not change by itself: a device that is seen again has not changed.
func lastingObject(object any) any {
	whole, _ := object.(map[string]any)
	status, ok := whole["status"].(map[string]any)
	if !ok {
		return object
	}
	status = maps.Clone(status)
	delete(status, "lastSeen")
	whole = maps.Clone(whole)
	whole["status"] = status
	return whole
}
