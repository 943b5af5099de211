package inventory

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// importKinds are the kinds that can be imported.
var importKinds = []string{KindDevice, KindFleet, KindEnrollmentRequest}

// decodeStream reads the resources of a stream in their order and passes each to do; an error of do ends it. It returns
// how many documents there were.
func decodeStream(r io.Reader, do func(importRecord) error) (int, error) {
	d := streamDecoder{do: do, seen: map[string]string{}}
	in := newDocumentReader(r)
	for {
		doc, err := in.next()
		if errors.Is(err, io.EOF) {
			return d.documents, nil
		}
		if err != nil {
			return d.documents, err
		}
		values, err := doc.values()
		if err != nil {
			return d.documents, fmt.Errorf("document %d: %w", d.documents+1, err)
		}
		for _, value := range values {
			d.documents++
			if err := d.document(value); err != nil {
				return d.documents, err
			}
		}
	}
}

type streamDecoder struct {
	do        func(importRecord) error
	documents int
	// seen says where each resource stood, by kind and name.
	seen map[string]string
}

func (d *streamDecoder) document(value []byte) error {
	where := fmt.Sprintf("document %d", d.documents)
	if jsonType(value) == "null" { // an empty document with a marker and a comment behind it
		return nil
	}
	head, fields, err := readHead(value)
	if err != nil {
		return fmt.Errorf("%s: %w", head.where(where), err)
	}
	if !strings.HasSuffix(head.kind, "List") {
		return d.resource(where, head, fields)
	}
	items, err := listItems(head, fields)
	if err != nil {
		return fmt.Errorf("%s: %w", head.where(where), err)
	}
	for i, item := range items {
		where := fmt.Sprintf("document %d, item %d", d.documents, i+1)
		itemHead, fields, err := readHead(item)
		if err == nil {
			itemHead, err = itemHead.inList(head)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", itemHead.where(where), err)
		}
		if err := d.resource(where, itemHead, fields); err != nil {
			return err
		}
	}
	return nil
}

func (d *streamDecoder) resource(where string, head importHead, fields []member) error {
	where = head.where(where)
	record, err := decodeResource(head, fields)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	record.where = where
	key := record.kind + "/" + record.Name
	if first, twice := d.seen[key]; twice {
		return fmt.Errorf("%s: metadata.name: stands twice in the input, first as %s", where, first)
	}
	d.seen[key] = where
	return d.do(record)
}

// listItems are the items of a list kind.
func listItems(head importHead, fields []member) ([][]byte, error) {
	if head.kind != "List" && !slices.Contains(importKinds, strings.TrimSuffix(head.kind, "List")) {
		return nil, head.unknownKind()
	}
	if err := head.checkVersion(); err != nil {
		return nil, err
	}
	var items [][]byte
	for _, f := range fields {
		switch f.name {
		case "apiVersion", "kind", "metadata", "summary": // summary counts the devices of a DeviceList
		case "items":
			if jsonType(f.value) == "null" {
				continue
			}
			var err error
			if items, err = elements(f.value); err != nil {
				return nil, fmt.Errorf("items: %w", err)
			}
		default:
			return nil, unknownField(f.name, "")
		}
	}
	return items, nil
}
