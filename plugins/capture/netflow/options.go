package main

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
)

// Elements of options data that are read (RFC 3954 8; RFC 5477 8 and RFC 7270
// for sampling; IANA registry).
const (
	scopeInterface = 2 // scope type of NetFlow v9 (RFC 3954 6.1)

	optionInIf            = 10
	optionOutIf           = 14
	optionRate            = 34
	optionActiveTimeout   = 36
	optionSampler         = 48
	optionSamplerRate     = 50
	optionIfName          = 82
	optionIfDescription   = 83
	optionSystemInit      = 160
	optionSelector        = 302
	optionAlgorithm       = 304
	optionInterval        = 305
	optionSpace           = 306
	optionSize            = 309
	optionPopulation      = 310
	optionProbability     = 311
	optionMaxName         = 128 // octets of an interface's name that are kept
	algorithmProbabilty   = 4   // uniform probabilistic, RFC 5477 8.2.1
	algorithmByTime       = 2   // systematic by time: no rate can be told
	secondsOfLongTimeouts = 86400
)

// optionRecord is what one record of options data says, 0 for what it does
// not.
type optionRecord struct {
	sampler                  uint64
	iface                    uint32
	rate, interval, space    uint64
	size, population         uint64
	probability              float64
	algorithm                uint64
	timeout, boot            uint64
	name, description        []byte
	hasSampler, scopeIsIface bool
}

// optionRecords reads a set of options data.
func (d *decoder) optionRecords(data []byte, t *template) {
	ipfix := t.definition[0]&definitionIPFIX != 0
	for len(data) >= t.shortest {
		var o optionRecord
		n := o.read(data, t, ipfix)
		if n < 0 {
			d.malformed(lostOptions, "a record of options ends behind its set")
			return
		}
		d.records++
		d.learn(&o)
		data = data[n:]
	}
}

// read reads one record and returns its length, -1 if it is not whole.
func (o *optionRecord) read(data []byte, t *template, ipfix bool) int {
	off := 0
	for i := range t.fields {
		f := &t.fields[i]
		length := int(f.length)
		if f.length == variableLength {
			n, head := varLength(data, off)
			if head == 0 {
				return -1
			}
			off += head
			length = n
		}
		if off+length > len(data) {
			return -1
		}
		value := data[off : off+length]
		off += length
		switch {
		case f.pen != 0:
		case i < t.scope && !ipfix:
			if f.id == scopeInterface {
				o.iface, o.scopeIsIface = uint32(number(value)), true
			}
		default:
			o.take(f.id, value)
		}
	}
	return off
}

// take takes in the value of one element.
func (o *optionRecord) take(id uint16, value []byte) {
	switch id {
	case optionInIf, optionOutIf:
		if !o.scopeIsIface && o.iface == 0 {
			o.iface = uint32(number(value))
		}
	case optionRate:
		o.rate = number(value)
	case optionSamplerRate:
		if o.rate == 0 {
			o.rate = number(value)
		}
	case optionActiveTimeout:
		o.timeout = number(value)
	case optionSampler, optionSelector:
		o.sampler, o.hasSampler = number(value), true
	case optionIfName:
		o.name = text(value)
	case optionIfDescription:
		o.description = text(value)
	case optionSystemInit:
		o.boot = number(value)
	case optionAlgorithm:
		o.algorithm = number(value)
	case optionInterval:
		o.interval = number(value)
	case optionSpace:
		o.space = number(value)
	case optionSize:
		o.size = number(value)
	case optionPopulation:
		o.population = number(value)
	case optionProbability:
		o.probability = real(value)
	}
}

// samplingRate is the rate that the record tells, 0 if none. It may be too high
// to be believed.
func (o *optionRecord) samplingRate() uint32 {
	var rate float64
	switch {
	case o.rate != 0 && o.rate != swappedOne:
		rate = float64(o.rate)
	case o.algorithm == algorithmByTime:
	case o.interval != 0:
		rate = (float64(o.interval) + float64(o.space)) / float64(o.interval)
		// Some tell only the interval, and mean one packet of so many.
		if o.space == 0 {
			rate = float64(o.interval)
		}
	case o.size != 0:
		rate = float64(o.population) / float64(o.size)
	case o.probability > 0:
		rate = 1 / o.probability
	}
	if !(rate >= 1) { // which a NaN is not either
		return 0
	}
	return uint32(math.Round(min(rate, math.MaxUint32)))
}

// learn passes on what a record of options tells.
func (d *decoder) learn(o *optionRecord) {
	s := d.src
	if rate := o.samplingRate(); rate != 0 {
		s.e.LearnRate(o.sampler, o.iface, rate)
		if rate <= exporter.MaxRate {
			d.store.learn(s.dom, rateKey{o.sampler, o.iface}, rate)
		}
		s.begin(s.export, s.uptime) // the rest of the message too
	}
	if o.timeout > 0 && o.timeout <= secondsOfLongTimeouts {
		s.e.LearnTimeout(uint32(o.timeout))
	}
	if o.boot != 0 {
		s.boot = clampMillis(o.boot, 1e6)
		s.dom.boot.Store(s.boot)
	}
	if o.iface != 0 {
		name := o.name
		if len(name) == 0 {
			name = o.description
		}
		if len(name) > 0 {
			s.e.Interface(o.iface, string(name))
		}
	}
}

// number reads an unsigned integer of up to eight octets; a longer one is 0.
func number(b []byte) (n uint64) {
	if len(b) > 8 {
		return 0
	}
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// real reads a float64, which may be cut down to a float32 (RFC 7011 6.2).
func real(b []byte) float64 {
	switch len(b) {
	case 4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	case 8:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return 0
}

// text is a name up to its first NUL, which need not be there.
func text(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return bytes.TrimSpace(bytes.ToValidUTF8(b[:min(len(b), optionMaxName)], []byte("?")))
}
