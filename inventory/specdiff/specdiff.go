// Package specdiff says what a resume would make a device do: what its spec asks for against what the device last
// reported to run. It reads documents as Flight Control stores them and keeps to their plain fields: the operating
// system's image, its digest, and the names of the applications.
package specdiff

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
)

// Change is one thing that a resume would change on a device.
type Change struct {
	// Field is os.image, os.imageDigest or applications.NAME.
	Field string `json:"field"`
	// Runs is what the device last reported to run, and Would what its spec asks for; empty is nothing.
	Runs  string `json:"runs"`
	Would string `json:"would"`
	// Backwards reports whether the spec asks for an older version of the same image than the device runs.
	Backwards bool `json:"backwards,omitempty"`
}

// String is the change in one line: "image 2.3.0 → 2.1.4, backwards".
func (c Change) String() string {
	runs, would := c.Runs, c.Would
	if before, after, ok := sameImage(runs, would); ok && c.Field != "os.imageDigest" {
		runs, would = before, after
	}
	s := fmt.Sprintf("%s %s → %s", shortField(c.Field), orNothing(runs), orNothing(would))
	if c.Backwards {
		s += ", backwards"
	}
	return s
}

func shortField(field string) string {
	if name, ok := strings.CutPrefix(field, "applications."); ok {
		return "application " + name
	}
	return strings.TrimPrefix(field, "os.")
}

func orNothing(s string) string {
	if s == "" {
		return "(nothing)"
	}
	return s
}

// named is an application by its name, in a spec or in a status.
type named struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

// document holds the plain fields of a device's spec or status. A spec's application without a name goes by its image,
// as Flight Control's agent names it.
type document struct {
	OS struct {
		Image       string `json:"image"`
		ImageDigest string `json:"imageDigest"`
	} `json:"os"`
	Applications []named `json:"applications"`
}

// Diff compares a device's spec with its status. A document that is missing or cannot be read asks for nothing and
// reports nothing. What the device did not report is not compared: an empty status shows no change of the image.
func Diff(spec, status json.RawMessage) []Change {
	asks, runs := read(spec), read(status)
	changes := []Change{}
	image, digest, pinned := strings.Cut(asks.OS.Image, "@")
	if asks.OS.Image != "" && runs.OS.Image != "" && image != withoutDigest(runs.OS.Image) {
		changes = append(changes, Change{
			Field: "os.image", Runs: withoutDigest(runs.OS.Image), Would: image,
			Backwards: older(image, withoutDigest(runs.OS.Image)),
		})
	}
	if pinned && runs.OS.ImageDigest != "" && digest != runs.OS.ImageDigest {
		changes = append(changes, Change{Field: "os.imageDigest", Runs: runs.OS.ImageDigest, Would: digest})
	}
	return append(changes, diffApplications(asks.Applications, runs.Applications)...)
}

func diffApplications(asks, runs []named) []Change {
	wanted, running := map[string]string{}, map[string]string{}
	for _, app := range asks {
		name := app.Name
		if name == "" {
			name = app.Image
		}
		wanted[name] = app.Image
	}
	for _, app := range runs {
		running[app.Name] = app.Image
	}
	changes := []Change{}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if _, ok := running[name]; !ok {
			changes = append(changes, Change{Field: "applications." + name, Would: orPresent(wanted[name])})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(running)) {
		if _, ok := wanted[name]; !ok {
			changes = append(changes, Change{Field: "applications." + name, Runs: orPresent(running[name])})
		}
	}
	return changes
}

func orPresent(image string) string {
	if image == "" {
		return "present"
	}
	return image
}

// read decodes what it can: a field of another form counts as absent and hides no other field.
func read(text json.RawMessage) (d document) {
	var fields struct{ OS, Applications json.RawMessage }
	if json.Unmarshal(text, &fields) != nil {
		return d
	}
	_ = json.Unmarshal(fields.OS, &d.OS)                     // absent
	_ = json.Unmarshal(fields.Applications, &d.Applications) // absent
	return d
}

func withoutDigest(image string) string {
	image, _, _ = strings.Cut(image, "@")
	return image
}

// sameImage splits two references to the same repository into their tags.
func sameImage(a, b string) (tagA, tagB string, ok bool) {
	nameA, tagA := splitTag(a)
	nameB, tagB := splitTag(b)
	return tagA, tagB, nameA == nameB && tagA != "" && tagB != ""
}

// splitTag splits a reference at its tag; a colon before a slash belongs to the registry's port.
func splitTag(image string) (name, tag string) {
	at := strings.LastIndex(image, ":")
	if at < 0 || strings.Contains(image[at:], "/") {
		return image, ""
	}
	return image[:at], image[at+1:]
}

// older reports whether image is an older version of the same image than than. Tags that are no versions are not
// compared.
func older(image, than string) bool {
	a, b, ok := sameImage(image, than)
	if !ok {
		return false
	}
	va, errA := parseTag(a)
	vb, errB := parseTag(b)
	return errA == nil && errB == nil && va.LessThan(vb)
}

// parseTag reads a tag such as 9.6.0, v2.1 or v10.
func parseTag(tag string) (*version.Version, error) {
	if !strings.Contains(tag, ".") {
		tag += ".0"
	}
	return version.ParseGeneric(tag)
}

// Group is the devices for which a resume would change the same.
type Group struct {
	Devices int      `json:"devices"`
	Names   []string `json:"names"`
	Changes []Change `json:"changes"`
}

// String is the group in one line: "212 devices: image 2.3.0 → 2.1.4, backwards".
func (g Group) String() string {
	parts := make([]string, len(g.Changes))
	for i, c := range g.Changes {
		parts[i] = c.String()
	}
	what := strings.Join(parts, "; ")
	if what == "" {
		what = "nothing that they report would change"
	}
	if g.Devices == 1 {
		return "1 device: " + what
	}
	return fmt.Sprintf("%d devices: %s", g.Devices, what)
}

// Collect groups devices, given by name, by their changes: the largest group first, then by text.
func Collect(changes map[string][]Change) []Group {
	byText := map[string]*Group{}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		key := Group{Changes: changes[name]}.String()
		if byText[key] == nil {
			byText[key] = &Group{Changes: changes[name]}
		}
		byText[key].Devices++
		byText[key].Names = append(byText[key].Names, name)
	}
	groups := []Group{}
	for _, key := range slices.Sorted(maps.Keys(byText)) {
		groups = append(groups, *byText[key])
	}
	slices.SortStableFunc(groups, func(a, b Group) int { return b.Devices - a.Devices })
	return groups
}
