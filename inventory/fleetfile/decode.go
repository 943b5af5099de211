package fleetfile

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"rollcall/internal/jsonbound"
)

// Kinds are the kinds that can be imported.
var Kinds = []string{KindDevice, KindFleet, KindEnrollmentRequest}

// Decode reads the resources of a stream in their order and passes each to do; an error of do ends it. It returns how
// many documents there were. It holds one resource at a time, of a list too, so that a file of any size needs little
// memory; only items that leave it to the list's end to say what they are have to wait for that.
func Decode(r io.Reader, do func(Record) error) (int, error) {
	d := streamDecoder{do: do, seen: map[string]place{}}
	in := newDocumentReader(r)
	for {
		isJSON, line, err := in.start()
		if errors.Is(err, io.EOF) {
			return d.documents, nil
		}
		if err != nil {
			return d.documents, err
		}
		if isJSON {
			err = d.json(in, line)
		} else {
			d.documents++
			err = d.yaml(in, line)
		}
		if err != nil {
			return d.documents, err
		}
	}
}

type streamDecoder struct {
	do        func(Record) error
	documents int
	// resources is how many have been passed on.
	resources int
	// seen says where each resource stood, by kind and name.
	seen map[string]place
}

// place is a document, and the item where that is a list.
type place struct{ document, item int }

func (p place) String() string {
	if p.item == 0 {
		return fmt.Sprintf("document %d", p.document)
	}
	return fmt.Sprintf("document %d, item %d", p.document, p.item)
}

// resource passes on the resource in value.
func (d *streamDecoder) resource(at place, head documentHead, value []byte, fields []member) error {
	where := head.where(at.String())
	if err := checkBounds(value); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	record, err := decodeResource(head, fields)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	record.Where = where
	key := record.Kind + "/" + record.Name
	if first, twice := d.seen[key]; twice {
		return fmt.Errorf("%s: metadata.name: stands twice in the input, first as %s", where, head.where(first.String()))
	}
	d.seen[key] = at
	d.resources++
	return d.do(record)
}

// maxPrinted is how long a resource may be in PostgreSQL, in bytes.
const maxPrinted = 16 << 20

// checkBounds refuses a resource that is beyond what the database can hold or should.
func checkBounds(value []byte) error {
	printed, err := jsonbound.Check(value)
	if err == nil && printed > maxPrinted {
		return fmt.Errorf("the resource takes more than %d MB in the database", maxPrinted>>20)
	}
	return err
}

// checkList checks the fields of a list beside its items.
func checkList(head documentHead, fields []member) error {
	if err := head.checkList(); err != nil {
		return err
	}
	for _, f := range fields {
		switch f.name {
		case "apiVersion", "kind", "metadata", "summary": // summary counts the devices of a DeviceList
		case "items":
			if t := jsonType(f.value); t != "null" && t != "a list" {
				return fmt.Errorf("items: must be a list, not %s", t)
			}
		default:
			return unknownField(f.name, "")
		}
	}
	return nil
}

// checkList reports whether head is that of a list of what can be imported.
func (h documentHead) checkList() error {
	if h.kind != "List" && !slices.Contains(Kinds, strings.TrimSuffix(h.kind, "List")) {
		return h.unknownKind()
	}
	return h.checkVersion()
}
