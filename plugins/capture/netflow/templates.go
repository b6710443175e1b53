package main

import "encoding/binary"

// A definition tells equal templates and is what the disk keeps of one: an
// octet of flags, the number of scope fields in two octets, and the field
// specifiers as they were announced.
const (
	definitionHead    = 3
	definitionOptions = 1
	definitionIPFIX   = 2
)

// templates reads a set of template records (RFC 3954 5.2 and 6.1, RFC 7011
// 3.4). Changes are published together: no worker sees half of a set.
func (d *decoder) templates(data []byte, options, ipfix bool) {
	u := announcement{d: d, dom: d.src.dom}
	for len(data) >= setHeader {
		n := d.templateRecord(data, options, ipfix, &u)
		if n <= 0 {
			break
		}
		data = data[n:]
	}
	u.publish()
}

// templateRecord reads one template record and returns its length, 0 at the
// end of the set and where reading on makes no sense.
func (d *decoder) templateRecord(data []byte, options, ipfix bool, u *announcement) int {
	be := binary.BigEndian
	id, count := be.Uint16(data), int(be.Uint16(data[2:]))
	if id < firstData {
		if id == 0 && zero(data) || ipfix && d.withdrawAll(data, options, u) { // padding
			return 0
		}
		return d.refuseTemplate("a template's id is below 256")
	}
	if ipfix && count == 0 {
		u.withdraw(id)
		return 4
	}
	head, scope := 4, 0
	if options {
		if head = 6; len(data) < head {
			return d.refuseTemplate(errCut.Error())
		}
		scope = int(be.Uint16(data[4:]))
		if !ipfix { // lengths in octets: of the scope, and of the options
			scopeOctets, optionOctets := count, scope
			if scopeOctets%4 != 0 || optionOctets%4 != 0 {
				return d.refuseTemplate("an options template's lengths are no multiples of 4")
			}
			count, scope = (scopeOctets+optionOctets)/4, scopeOctets/4
		}
	}
	fields, n, err := define(data[head:], count, ipfix, d.fields[:0])
	d.fields = fields[:0]
	if err != nil {
		return d.refuseTemplate(err.Error())
	}
	kind := byte(0)
	if options {
		kind |= definitionOptions
	}
	if ipfix {
		kind |= definitionIPFIX
	}
	d.def = append(d.def[:0], kind, byte(scope>>8), byte(scope))
	d.def = append(d.def, data[head:head+n]...)
	if old := u.find(id); old == nil || old.definition != string(d.def) {
		u.define(id, fields, options, scope)
	}
	return head + n
}

func (d *decoder) refuseTemplate(why string) int {
	d.malformed(lostTemplate, why)
	return 0
}

// withdrawAll reads the withdrawal of all templates (RFC 7011 8.1): the set's
// own id in place of a template's.
func (d *decoder) withdrawAll(data []byte, options bool, u *announcement) bool {
	id := binary.BigEndian.Uint16(data)
	if !options && id != 2 || options && id != 3 || binary.BigEndian.Uint16(data[2:]) != 0 {
		return false
	}
	for id, t := range u.dom.table.Load().all() {
		if t.options == options {
			u.withdraw(id)
		}
	}
	return true
}

// announcement gathers what one set changes of a domain's templates. From the first
// change to publish the store is locked.
type announcement struct {
	d       *decoder
	dom     *domain
	m       map[uint16]*template // nil until something changes
	made    []*template          // with ids, what the set has announced
	changed []uint16
}

// find returns the template with an id as the set has left it so far.
func (u *announcement) find(id uint16) *template {
	if u.m != nil {
		return u.m[id]
	}
	return u.dom.table.Load().find(id)
}

func (u *announcement) begin() {
	if u.m == nil {
		u.d.store.mu.Lock()
		u.m = u.dom.table.Load().all()
	}
}

// withdraw takes a template back.
func (u *announcement) withdraw(id uint16) {
	if u.find(id) != nil {
		u.begin()
		delete(u.m, id)
	}
}

// define gives id the template in the decoder's scratch.
func (u *announcement) define(id uint16, fields []field, options bool, scope int) {
	d := u.d
	u.begin()
	if _, known := u.m[id]; !known && len(u.m) >= maxDomainTemplates || !d.store.room(0, len(u.m)+1) {
		d.malformed(lostTemplates, "more templates than can be held")
		return
	}
	t, err := d.store.intern(d.def, fields, options, scope)
	if err != nil {
		d.malformed(lostTemplate, err.Error())
		return
	}
	u.m[id] = t
	u.made = append(u.made, t)
	u.changed = append(u.changed, id)
}

// publish makes the changes visible and decodes what waited for them.
func (u *announcement) publish() {
	if u.m == nil {
		return
	}
	d := u.d
	if !u.dom.gone.Load() {
		d.store.replace(u.dom, u.m)
	}
	for _, t := range u.made {
		d.store.release(t)
	}
	d.store.mu.Unlock()
	d.src.e.Templates(len(u.m))
	for _, id := range u.changed {
		d.replay(id)
	}
}
