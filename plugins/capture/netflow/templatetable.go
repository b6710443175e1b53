package main

import "sync/atomic"

// table maps the ids of a domain to templates. Workers read it without a lock
// while the store, under its own, changes it in place: an announcement costs as
// much in a domain with a thousand templates as in one with two. A slot never
// changes its id, and its template is whole before its id can be found.
type table struct {
	ids       []atomic.Uint32 // a power of two, at most half of them taken; 0: free
	templates []atomic.Pointer[template]
	taken     int // slots with an id, withdrawn ones included; under the store's lock
}

var emptyTable = &table{}

// newTable makes a table with room for as many templates again as it is made for.
func newTable(n int) *table {
	size := 4
	for size < 3*n {
		size *= 2
	}
	return &table{ids: make([]atomic.Uint32, size), templates: make([]atomic.Pointer[template], size)}
}

// slot is where an id stands, or would: -1 in a table without slots.
func (t *table) slot(id uint16) int {
	mask := len(t.ids) - 1
	if mask < 0 {
		return -1
	}
	for i := int(id) & mask; ; i = (i + 1) & mask {
		if have := t.ids[i].Load(); have == uint32(id) || have == 0 {
			return i
		}
	}
}

// find returns the template with an id, nil if there is none.
func (t *table) find(id uint16) *template {
	i := t.slot(id)
	if i < 0 || t.ids[i].Load() != uint32(id) {
		return nil
	}
	return t.templates[i].Load()
}

// each gives the templates and their ids.
func (t *table) each(give func(id uint16, x *template)) {
	for i := range t.ids {
		id, x := t.ids[i].Load(), t.templates[i].Load()
		if id != 0 && x != nil {
			give(uint16(id), x)
		}
	}
}

// fits tells whether an id can be put into the table.
func (t *table) fits(id uint16) bool {
	i := t.slot(id)
	return i >= 0 && (t.ids[i].Load() != 0 || 2*(t.taken+1) <= len(t.ids))
}

// put gives an id that fits a template, nil to withdraw it, and returns the one
// before. Of several calls one at a time may be under way.
func (t *table) put(id uint16, x *template) (old *template) {
	i := t.slot(id)
	old = t.templates[i].Swap(x)
	if t.ids[i].Load() == 0 {
		t.ids[i].Store(uint32(id))
		t.taken++
	}
	return old
}
