package gen

import "encoding/binary"

// Stamper gives datagrams their place in a stream: sequence numbers, and times
// as if each was sent now. A datagram may be stamped any number of times.
type Stamper struct {
	boot      int64 // ns since the Unix epoch
	datagrams uint32
	records   uint32
	samples   uint32
	pool      uint32
	counters  uint32
	packets   uint64 // told of, scaled
	octets    uint64
}

// uptimeAtFirst is for how long the exporter has been up at the first
// datagram: longer than any flow lasts.
const uptimeAtFirst = 24 * 3600 * 1e9

// Stamp writes into a datagram what it says when it is sent at a time, in
// nanoseconds since the Unix epoch. No two may lie in memory at once that are
// one.
func (s *Stamper) Stamp(d *Datagram, at int64) {
	if s.boot == 0 {
		s.boot = at - uptimeAtFirst
	}
	be := binary.BigEndian
	b := d.Data
	uptime := uint64((at - s.boot) / 1e6)
	switch d.protocol {
	case NetFlow5:
		be.PutUint32(b[4:], uint32(uptime))
		be.PutUint32(b[8:], uint32(at/1e9))
		be.PutUint32(b[12:], uint32(at%1e9))
		be.PutUint32(b[16:], s.records)
		d.shift32(uptime)
	case NetFlow9:
		be.PutUint32(b[4:], uint32(uptime))
		be.PutUint32(b[8:], uint32(at/1e9))
		be.PutUint32(b[12:], s.datagrams)
		d.shift32(uptime)
	case IPFIX:
		be.PutUint32(b[4:], uint32(at/1e9))
		be.PutUint32(b[8:], s.records)
		d.shift64(uint64(at / 1e6))
	case SFlow:
		be.PutUint32(b[16:], s.datagrams+1)
		be.PutUint32(b[20:], uint32(uptime))
		if d.Records == 0 {
			s.count(d)
		} else {
			s.sample(d)
		}
	}
	s.datagrams++
	s.records += uint32(d.Records + d.options)
}

// sample numbers flow samples: each stands for as many packets that could have
// been sampled as the rate says.
func (s *Stamper) sample(d *Datagram) {
	be := binary.BigEndian
	pool := uint16(samplePool)
	if d.expanded {
		pool += expandedSource
	}
	for _, at := range d.samples {
		s.samples++
		s.pool += d.rate
		sample := d.Data[at : at+pool+4]
		be.PutUint32(sample[sampleSeq:], s.samples)
		be.PutUint32(sample[pool:], s.pool)
	}
	s.packets += d.Packets * uint64(d.rate)
	s.octets += d.Bytes * uint64(d.rate)
}

// count sets the counters of the interfaces: all has come in by the first and
// left by the second.
func (s *Stamper) count(d *Datagram) {
	be := binary.BigEndian
	s.counters++
	body, at := uint16(countersBody), [2]uint16{ifInOctets, ifOutOctets}
	if d.expanded {
		body += expandedSource
	}
	for i, from := range d.samples {
		be.PutUint32(d.Data[from+sampleSeq:], s.counters)
		b := d.Data[from+body+at[i]:]
		be.PutUint64(b, s.octets)
		be.PutUint32(b[8:], uint32(s.packets))
	}
}

// shift32 moves the records' times of 32 bits to another clock.
func (d *Datagram) shift32(clock uint64) {
	by := uint32(clock - d.clock)
	d.clock = clock
	if by == 0 {
		return
	}
	b := d.Data[d.first:]
	for i := range d.Records {
		t := b[i*d.stride : i*d.stride+8]
		binary.BigEndian.PutUint32(t, binary.BigEndian.Uint32(t)+by)
		binary.BigEndian.PutUint32(t[4:], binary.BigEndian.Uint32(t[4:])+by)
	}
}

// shift64 does the same for 64 bits.
func (d *Datagram) shift64(clock uint64) {
	by := clock - d.clock
	d.clock = clock
	if by == 0 {
		return
	}
	b := d.Data[d.first:]
	for i := range d.Records {
		t := b[i*d.stride : i*d.stride+16]
		binary.BigEndian.PutUint64(t, binary.BigEndian.Uint64(t)+by)
		binary.BigEndian.PutUint64(t[8:], binary.BigEndian.Uint64(t[8:])+by)
	}
}
