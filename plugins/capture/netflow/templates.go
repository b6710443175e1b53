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
// 3.4), and decodes what has waited for those that are new.
func (d *decoder) templates(data []byte, options, ipfix bool) {
	d.changed = d.changed[:0]
	before := d.src.dom.revision.Load()
	for len(data) >= setHeader {
		n := d.templateRecord(data, options, ipfix)
		if n <= 0 {
			break
		}
		data = data[n:]
	}
	if d.src.dom.revision.Load() != before {
		d.src.e.Templates(int(d.src.dom.templates.Load()))
	}
	for _, id := range d.changed {
		d.replay(id)
	}
}

// templateRecord reads one template record and returns its length, 0 at the
// end of the set and where reading on makes no sense.
func (d *decoder) templateRecord(data []byte, options, ipfix bool) int {
	be := binary.BigEndian
	id, count := be.Uint16(data), int(be.Uint16(data[2:]))
	if id < firstData {
		if id == 0 && zero(data) || ipfix && d.withdrawAll(data, options) { // padding
			return 0
		}
		return d.refuseTemplate("a template's id is below 256")
	}
	if ipfix && count == 0 {
		d.withdraw(id)
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
	if old := d.src.dom.table.Load().find(id); old == nil || old.definition != string(d.def) {
		d.define(id, fields, options, scope)
	}
	return head + n
}

func (d *decoder) refuseTemplate(why string) int {
	d.malformed(lostTemplate, why)
	return 0
}

// withdrawAll reads the withdrawal of all templates (RFC 7011 8.1): the set's
// own id in place of a template's.
func (d *decoder) withdrawAll(data []byte, options bool) bool {
	id := binary.BigEndian.Uint16(data)
	if !options && id != 2 || options && id != 3 || binary.BigEndian.Uint16(data[2:]) != 0 {
		return false
	}
	d.src.dom.table.Load().each(func(id uint16, t *template) {
		if t.options == options {
			d.withdraw(id)
		}
	})
	return true
}

// withdraw takes a template back.
func (d *decoder) withdraw(id uint16) {
	dom := d.src.dom
	if dom.table.Load().find(id) == nil {
		return
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if !dom.gone.Load() {
		d.store.put(dom, id, nil)
	}
}

// define gives id the template in the decoder's scratch. The store is locked for
// as long as it takes to look it up and to put it into the table: others announce
// too, and what it costs to compile one is nobody's but the announcer's worker.
func (d *decoder) define(id uint16, fields []field, options bool, scope int) {
	st := d.store
	t := st.lookup(d.def)
	if t == nil {
		made, err := compile(string(d.def), fields, options, scope)
		if err != nil {
			d.malformed(lostTemplate, err.Error())
			return
		}
		t = made
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	t = st.share(t)
	defer st.release(t)
	dom := d.src.dom
	more := 1
	if dom.table.Load().find(id) != nil {
		more = 0
	}
	if int(dom.templates.Load())+more > st.bounds.domainTemplates || !st.room(0, more) {
		d.malformed(lostTemplates, "more templates than can be held")
		return
	}
	if dom.gone.Load() { // perhaps to make room; its next datagram begins anew
		return
	}
	st.put(dom, id, t)
	d.changed = append(d.changed, id)
}
