package fleetfile

import (
	"fmt"
	"strings"
)

// listing is a document while it is being read: a resource, or a list whose items are passed on as they come.
type listing struct {
	d      *streamDecoder
	at     place
	fields fieldList
	// head is what is known of the document before its first item. What prints a list may write its kind behind the items.
	head documentHead
	// items is how many have come; hasItems says that the list itself has.
	items    int
	hasItems bool
	// early says where the first item of each kind stood that was passed on before the list's own kind was known.
	early map[string]place
	// waiting are items that leave it to the list to say what they are.
	waiting []waitingItem
}

type waitingItem struct {
	at     place
	head   documentHead
	value  []byte
	fields []member
}

func (d *streamDecoder) listing() *listing {
	return &listing{d: d, at: place{document: d.documents}, early: map[string]place{}}
}

// begin begins the items of the document.
func (l *listing) begin() error {
	if l.hasItems || l.fields.has("items") {
		return fmt.Errorf(`%s: the field "items" stands there twice`, l.at)
	}
	l.hasItems = true
	head, err := headOf(l.fields.members)
	if err == nil && head.complete() && head.isList() {
		err = head.checkList()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", head.where(l.at.String()), err)
	}
	l.head = head
	return nil
}

// field takes the next field of the document, with its value.
func (l *listing) field(f member) error {
	if f.name == "items" && jsonType(f.value) == "a list" {
		return l.list(f.value)
	}
	if l.hasItems && f.name == "items" {
		return l.begin()
	}
	if err := l.fields.add(f); err != nil {
		return fmt.Errorf("%s: %w", l.at, err)
	}
	return nil
}

// object takes a document that has been read as a whole.
func (l *listing) object(value []byte) error {
	fields, err := members(value)
	if err != nil {
		return fmt.Errorf("%s: %w", l.at, err)
	}
	for _, f := range fields {
		if err := l.field(f); err != nil {
			return err
		}
	}
	return nil
}

// last takes the last of items; the others have been taken before.
func (l *listing) last(items []byte) error {
	var last []byte
	err := eachElement(items, func(value []byte) error {
		last = value
		return nil
	})
	if err != nil {
		return err
	}
	return l.item(last)
}

// list takes items that have been read as a whole.
func (l *listing) list(items []byte) error {
	if err := l.begin(); err != nil {
		return err
	}
	return eachElement(items, l.item)
}

// item takes the next item. It must not be written to afterwards.
func (l *listing) item(value []byte) error {
	l.items++
	at := place{document: l.at.document, item: l.items}
	head, fields, err := readHead(value)
	if err != nil {
		return fmt.Errorf("%s: %w", head.where(at.String()), err)
	}
	item := waitingItem{at: at, head: head, value: value, fields: fields}
	switch {
	case l.head.complete():
		return l.passOn(item, l.head)
	case head.complete():
		if _, found := l.early[head.kind]; !found {
			l.early[head.kind] = at
		}
		return l.d.resource(at, head, value, fields)
	default:
		l.waiting = append(l.waiting, item)
		return nil
	}
}

func (l *listing) passOn(item waitingItem, list documentHead) error {
	head, err := item.head.inList(list)
	if err != nil {
		return fmt.Errorf("%s: %w", head.where(item.at.String()), err)
	}
	return l.d.resource(item.at, head, item.value, item.fields)
}

// end ends the document.
func (l *listing) end() error {
	fields := l.fields.members
	if l.hasItems {
		fields = append(fields, member{name: "items", value: []byte("[]")})
	}
	head, err := headOf(fields)
	if err == nil && head.isList() {
		err = checkList(head, fields)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", head.where(l.at.String()), err)
	}
	if !head.isList() {
		return l.d.resource(l.at, head, joinMembers(fields), fields)
	}
	for kind, at := range l.early {
		if early, err := (documentHead{kind: kind}).inList(head); err != nil {
			return fmt.Errorf("%s: %w", early.where(at.String()), err)
		}
	}
	for _, item := range l.waiting {
		if err := l.passOn(item, head); err != nil {
			return err
		}
	}
	return nil
}

// isList reports whether the document says that it is a list.
func (h documentHead) isList() bool { return strings.HasSuffix(h.kind, "List") }

// complete reports whether nothing is left for a list to say.
func (h documentHead) complete() bool { return h.kind != "" && h.apiVersion != "" }
