package main

// compiler chooses which field fills which slot, and lays the records out.
type compiler struct {
	t        *template
	variable bool
	fields   []field

	hot   [hotSlots]chosen
	slow  [slowSlots]chosen
	start [len(timeElements)]chosen // candidates for each pair
	end   [len(timeElements)]chosen
	v6    [3]chosen // source, destination, next hop
	body  chosen    // the frame section
	ends  []int     // where each field ends in the fixed layout; -1: not in it
}

// chosen is the field that fills a slot so far.
type chosen struct {
	field int // index + 1, 0 none
	rank  uint8
}

func (c *chosen) offer(field int, rank uint8) {
	if c.field == 0 || rank < c.rank {
		*c = chosen{field + 1, rank}
	}
}

// run fills in the template.
func (c *compiler) run(fields []field) {
	c.fields = fields
	for i, f := range fields {
		c.consider(i, f)
	}
	wanted := c.wanted()
	c.ends = make([]int, len(fields))
	if c.variable {
		c.walk(wanted)
	} else {
		off := 0
		for i, f := range fields {
			off += int(f.length)
			c.ends[i] = off
		}
		c.t.length = off
	}
	c.place()
}

// consider offers a field to the slots it could fill. Fields of a length that
// their element cannot have are passed over.
func (c *compiler) consider(i int, f field) {
	fits := func(most uint8) bool { return f.length == variableLength || f.length > 0 && f.length <= uint16(most) }
	if f.pen == penReverse {
		if e, ok := reverseElements.find(f.id); ok && fits(e.max) {
			c.slow[e.slot].offer(i, e.rank)
		}
		return
	}
	if f.pen != 0 {
		return
	}
	if sectionKind(0, f.id) != sectionNone && f.length > 0 {
		c.body.offer(i, 0)
		return
	}
	if e, ok := hotElements.find(f.id); ok && fits(e.max) && (f.length == 4 || !isAddress(f.id)) {
		c.hot[e.slot].offer(i, e.rank)
	}
	if e, ok := slowElements.find(f.id); ok && fits(e.max) && (f.length == 4 || !isAddress(f.id)) {
		c.slow[e.slot].offer(i, e.rank)
	}
	if f.id == firewallEventASA && fits(1) {
		c.slow[slowFirewallEvent].offer(i, 1)
	}
	for k := range timeElements {
		p := &timeElements[k]
		if f.id == p.start && fits(8) {
			c.start[k].offer(i, 0)
		}
		if f.id == p.end && fits(8) {
			c.end[k].offer(i, 0)
		}
	}
	if f.length == 16 {
		switch f.id {
		case 27:
			c.v6[0].offer(i, 0)
		case 28:
			c.v6[1].offer(i, 0)
		case 62:
			c.v6[2].offer(i, 0)
		case 63: // bgpNextHopIPv6Address
			c.v6[2].offer(i, 1)
		}
	}
}

// isAddress tells the IPv4 addresses, which have four octets or are none.
func isAddress(id uint16) bool { return id == 8 || id == 12 || id == 15 || id == 18 || id == 366 }

// wanted settles which candidates are used and marks their fields.
func (c *compiler) wanted() []bool {
	for k, p := range timeElements {
		if c.t.time == timeNone && c.start[k].field != 0 && c.end[k].field != 0 {
			c.t.time = p.format
			c.hot[hotStart], c.hot[hotEnd] = c.start[k], c.end[k]
		}
	}
	c.settle()
	wanted := make([]bool, len(c.fields))
	mark := func(x chosen) {
		if x.field != 0 {
			wanted[x.field-1] = true
		}
	}
	for _, x := range c.hot {
		mark(x)
	}
	for _, x := range c.slow {
		mark(x)
	}
	for _, x := range c.v6 {
		mark(x)
	}
	mark(c.body)
	return wanted
}

// settle drops slow slots that say nothing beyond the hot ones.
func (c *compiler) settle() {
	id := func(x chosen) uint16 {
		if x.field == 0 {
			return 0
		}
		return c.fields[x.field-1].id
	}
	// The counters behind the exporter's own processing (23, 24) matter only
	// where those before it (1, 2) are there and 0.
	if id(c.hot[hotPackets]) != 2 {
		c.slow[slowOutPackets] = chosen{}
	}
	if id(c.hot[hotOctets]) != 1 {
		c.slow[slowOutOctets] = chosen{}
	}
	if id(c.hot[hotPackets]) == 86 || id(c.hot[hotOctets]) == 85 {
		c.t.has |= hasTotals
	}
	if c.hot[hotSrc4].field+c.hot[hotDst4].field+c.v6[0].field+c.v6[1].field > 0 {
		c.slow[slowStation] = chosen{}
	}
	if id(c.slow[slowDuration]) == 162 {
		c.t.has |= hasMicros
	}
	if c.t.time != timeNone {
		c.slow[slowDuration] = chosen{}
	}
	if c.t.time != timeUptime {
		c.slow[slowSystemInit] = chosen{}
	}
	if c.t.has&hasTotals == 0 {
		c.slow[slowFlowID] = chosen{}
	}
}

// walk lays out records with variable-length fields: the steps through them,
// and where the wanted fields come to lie once they are copied together.
func (c *compiler) walk(wanted []bool) {
	var (
		s   step
		out int   // octets copied so far
		run []int // fields of the step that is being made
	)
	finish := func() {
		for _, i := range run {
			if c.ends[i] >= 0 {
				c.ends[i] += out - int(s.from)
			}
		}
		out += int(s.to - s.from)
		run = run[:0]
	}
	for i, f := range c.fields {
		c.ends[i] = -1
		if f.length != variableLength {
			if wanted[i] {
				if s.to == 0 {
					s.from = s.fixed
				}
				s.to = s.fixed + f.length
				c.ends[i] = int(s.to)
				run = append(run, i)
			}
			s.fixed += f.length
			continue
		}
		finish()
		if wanted[i] {
			if s.section = c.body.field == i+1; !s.section {
				s.scalar, s.scalarMax = true, 8
				out += 8
				c.ends[i] = out
			}
		}
		c.t.steps = append(c.t.steps, s)
		s = step{}
	}
	if s.fixed > 0 {
		finish()
		s.tail = true
		c.t.steps = append(c.t.steps, s)
	}
	c.t.length = out
}

// place writes the slots.
func (c *compiler) place() {
	t := c.t
	at := func(x chosen) (slot, bool) {
		if x.field == 0 {
			return slot{}, false
		}
		width := c.fields[x.field-1].length
		if width > 8 { // a variable-length number
			width = 8
		}
		return slot{mask: ^uint64(0) >> (64 - 8*width), end: uint16(c.ends[x.field-1])}, true
	}
	far := &farSlots{}
	for i, x := range c.hot {
		s, ok := at(x)
		far.hot[i] = s
		switch {
		case ok && i >= hotVLAN:
			t.has |= hasHot3
		case ok && i >= hotSrcAS:
			t.has |= hasHot2
		}
	}
	for i, x := range c.slow {
		if s, ok := at(x); ok {
			t.slow = append(t.slow, slowSlot{s, uint8(i)})
			t.has |= 1 << i
		}
	}
	for i, what := range [quietSlots]struct{ slow, mask uint64 }{
		quietFragmentOffset: {slowFragmentOffset, laterFragment}, quietFragmentFlags: {slowFragmentFlags, moreFragments},
	} {
		far.quiet[i], _ = at(c.slow[what.slow])
		far.quiet[i].mask &= what.mask
	}
	for i, x := range c.v6 {
		if x.field != 0 {
			far.v6[i], far.has6[i] = uint16(c.ends[x.field-1]-16), true
			t.has |= hasSrc6 << i
		}
	}
	t.bring(far)
	c.flags()
	if x := c.body; x.field != 0 {
		f := c.fields[x.field-1]
		t.section = sectionKind(f.pen, f.id)
		if f.length != variableLength {
			t.sectionEnd, t.sectionLength = uint16(c.ends[x.field-1]), f.length
		}
	}
}

// flags says what the template has.
func (c *compiler) flags() {
	t := c.t
	if c.hot[hotSrc4].field+c.hot[hotDst4].field+c.slow[slowStation].field != 0 {
		t.has |= hasIPv4
	}
	if t.has&(hasSrc6|hasDst6) != 0 {
		t.has |= hasIPv6
	}
	if c.hot[hotSrc4].field != 0 && c.hot[hotDst4].field != 0 && t.has&hasIPv6 == 0 {
		t.has |= hasPair4
	}
	if c.hot[hotPackets].field != 0 {
		t.has |= hasPackets
	}
	if c.hot[hotOctets].field != 0 {
		t.has |= hasOctets
	}
	// Of counters for both ways only the way back may be there.
	if c.slow[slowReversePackets].field != 0 {
		t.has |= hasPackets
	}
	if c.slow[slowReverseOctets].field != 0 {
		t.has |= hasOctets
	}
	switch t.time {
	case timeUptime: // which wraps
		t.elapsed = 1<<32 - 1
	case timeMillis:
		t.elapsed = 1<<64 - 1
	}
	if t.has&(1<<slowSlots-1)&^oddOnly|t.has&hasTotals == 0 {
		t.has |= plain
	}
}
