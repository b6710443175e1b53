package announce

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Community is a community (RFC 1997).
type Community uint32

// Communities with a meaning of their own here.
const (
	Blackhole Community = 0xffff029a // RFC 7999
	NoExport  Community = 0xffffff01 // RFC 1997
)

// wellKnown are communities that have names (RFC 1997, RFC 3765, RFC 7999, RFC 8326).
var wellKnown = map[string]Community{
	"blackhole": Blackhole, "graceful-shutdown": 0xffff0000, "no-advertise": 0xffffff02, "no-export": NoExport, "no-peer": 0xffffff04,
}

// ParseCommunity reads 65001:666 or a name.
func ParseCommunity(s string) (Community, error) {
	if c, ok := wellKnown[strings.ToLower(s)]; ok {
		return c, nil
	}
	n, err := numbers(s, 16, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no community: write two numbers from 0 to 65535, as in 65001:666, or blackhole, no-export, no-advertise, no-peer or graceful-shutdown", s)
	}
	return Community(n[0]<<16 | n[1]), nil
}

// String is the community as two numbers.
func (c Community) String() string { return fmt.Sprintf("%d:%d", c>>16, c&0xffff) }

// Name is the community's name, or two numbers where it has none.
func (c Community) Name() string {
	for name, known := range wellKnown {
		if known == c {
			return name
		}
	}
	return c.String()
}

// Large is a large community (RFC 8092).
type Large [3]uint32

// ParseLarge reads 65001:1:2.
func ParseLarge(s string) (Large, error) {
	n, err := numbers(s, 32, 32, 32)
	if err != nil {
		return Large{}, fmt.Errorf("%q is no large community: write three numbers from 0 to 4294967295, as in 65001:666:1", s)
	}
	return Large{uint32(n[0]), uint32(n[1]), uint32(n[2])}, nil
}

func (l Large) String() string { return fmt.Sprintf("%d:%d:%d", l[0], l[1], l[2]) }

// Extended is an extended community as it is on the wire (RFC 4360).
type Extended [8]byte

// Subtypes of extended communities.
const (
	subtypeTarget   = 0x02
	subtypeOrigin   = 0x03
	subtypeRedirect = 0x08 // RFC 8955, 7.4
	subtypeColor    = 0x0b // RFC 9012, 4.3
	typeOpaque      = 0x03
	experimental    = 0x80 // added to the type of a redirection's target
)

// IsColor reports whether it is a colour (RFC 9012), which not every speaker has.
func (e Extended) IsColor() bool { return e[0] == typeOpaque && e[1] == subtypeColor }

// ParseExtended reads rt:65001:100, soo:192.0.2.1:100 or color:100.
func ParseExtended(s string) (Extended, error) {
	kind, rest, _ := strings.Cut(s, ":")
	subtype := byte(0)
	switch strings.ToLower(kind) {
	case "rt":
		subtype = subtypeTarget
	case "soo":
		subtype = subtypeOrigin
	case "color":
		if n, err := strconv.ParseUint(rest, 10, 32); err == nil {
			out := Extended{typeOpaque, subtypeColor}
			binary.BigEndian.PutUint32(out[4:], uint32(n))
			return out, nil
		}
	}
	if subtype != 0 {
		if out, ok := administrated(subtype, rest); ok {
			return out, nil
		}
	}
	return Extended{}, fmt.Errorf("%q is no extended community that is known here: write rt:65001:100, rt:192.0.2.1:100 or soo:65001:100", s)
}

// administrated reads AS:value or address:value (RFC 4360, RFC 5668).
func administrated(subtype byte, s string) (Extended, bool) {
	admin, value, _ := strings.Cut(s, ":")
	if addr, err := netip.ParseAddr(admin); err == nil && addr.Is4() {
		n, err := strconv.ParseUint(value, 10, 16)
		out := Extended{0x01, subtype}
		copy(out[2:], addr.AsSlice())
		binary.BigEndian.PutUint16(out[6:], uint16(n))
		return out, err == nil
	}
	if n, err := numbers(s, 16, 32); err == nil {
		out := Extended{0x00, subtype}
		binary.BigEndian.PutUint16(out[2:], uint16(n[0]))
		binary.BigEndian.PutUint32(out[4:], uint32(n[1]))
		return out, true
	}
	n, err := numbers(s, 32, 16)
	if err != nil {
		return Extended{}, false
	}
	out := Extended{0x02, subtype}
	binary.BigEndian.PutUint32(out[2:], uint32(n[0]))
	binary.BigEndian.PutUint16(out[6:], uint16(n[1]))
	return out, true
}

// Administrator tells who has given the number out, and the number: an AS, or an
// address, which is valid then.
func (e Extended) Administrator() (as uint32, addr netip.Addr, value uint32) {
	switch e[0] &^ experimental {
	case 0x01:
		return 0, netip.AddrFrom4([4]byte(e[2:6])), uint32(binary.BigEndian.Uint16(e[6:]))
	case 0x02:
		return binary.BigEndian.Uint32(e[2:]), addr, uint32(binary.BigEndian.Uint16(e[6:]))
	}
	return uint32(binary.BigEndian.Uint16(e[2:])), addr, binary.BigEndian.Uint32(e[4:])
}

// numbers reads numbers with colons between, of so many bits each.
func numbers(s string, bits ...int) ([]uint64, error) {
	parts := strings.Split(s, ":")
	if len(parts) != len(bits) {
		return nil, fmt.Errorf("%d numbers are needed", len(bits))
	}
	out := make([]uint64, len(parts))
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, bits[i])
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}
