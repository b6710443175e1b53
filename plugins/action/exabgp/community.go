package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	blackhole = "65535:666"   // RFC 7999
	noExport  = "65535:65281" // RFC 1997
)

// wellKnown are communities that have names (RFC 1997, RFC 3765, RFC 7999, RFC 8326).
var wellKnown = map[string]string{
	"blackhole": blackhole, "graceful-shutdown": "65535:0", "no-advertise": "65535:65282", "no-export": noExport, "no-peer": "65535:65284",
}

// community reads 65001:666 or a name. What it returns are numbers, whatever was
// written: so are the others here.
func community(s string) (string, error) {
	if c, ok := wellKnown[strings.ToLower(s)]; ok {
		return c, nil
	}
	if out, err := numbers(s, 16, 16); err == nil {
		return out, nil
	}
	return "", fmt.Errorf("%q is no community: write two numbers from 0 to 65535, as in 65001:666, or blackhole, no-export, no-advertise, no-peer or graceful-shutdown", s)
}

func largeCommunity(s string) (string, error) {
	if out, err := numbers(s, 32, 32, 32); err == nil {
		return out, nil
	}
	return "", fmt.Errorf("%q is no large community: write three numbers from 0 to 4294967295, as in 65001:666:1", s)
}

// extendedCommunity reads rt:65001:100, rt:4200000000:100 or soo:192.0.2.1:100
// (RFC 4360, RFC 5668), and gives it as ExaBGP has it: with a small AS number by
// name, else as its octets, since ExaBGP 4.2 mistakes what an address stands for.
func extendedCommunity(s string) (string, error) {
	kind, rest, _ := strings.Cut(s, ":")
	name, subtype := "target", byte(2)
	if strings.EqualFold(kind, "soo") {
		name, subtype = "origin", 3
	} else if !strings.EqualFold(kind, "rt") {
		rest = ""
	}
	if out, err := numbers(rest, 16, 32); err == nil {
		return name + ":" + out, nil
	}
	admin, value, _ := strings.Cut(rest, ":")
	n, err := strconv.ParseUint(value, 10, 16)
	if err == nil {
		if addr, err := netip.ParseAddr(admin); err == nil && addr.Is4() {
			return fmt.Sprintf("0x01%02X%X%04X", subtype, addr.AsSlice(), n), nil
		}
		if as, err := strconv.ParseUint(admin, 10, 32); err == nil {
			return fmt.Sprintf("0x02%02X%08X%04X", subtype, as, n), nil
		}
	}
	return "", fmt.Errorf("%q is no extended community that ExaBGP is told here: write rt:65001:100, rt:192.0.2.1:100 or soo:65001:100", s)
}

// numbers reads numbers with colons between, of so many bits each.
func numbers(s string, bits ...int) (string, error) {
	parts := strings.Split(s, ":")
	if len(parts) != len(bits) {
		return "", fmt.Errorf("%d numbers are needed", len(bits))
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, bits[i])
		if err != nil {
			return "", err
		}
		parts[i] = strconv.FormatUint(n, 10)
	}
	return strings.Join(parts, ":"), nil
}

func parseAll(list []string, parse func(string) (string, error)) ([]string, error) {
	out := make([]string, 0, len(list))
	for _, s := range list {
		v, err := parse(s)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out, nil
}

func oneNumber(list []string) (*uint32, error) {
	if len(list) == 1 {
		if n, err := strconv.ParseUint(list[0], 10, 32); err == nil {
			v := uint32(n)
			return &v, nil
		}
	}
	return nil, errors.New("write one number from 0 to 4294967295")
}

// usableNextHop says why an address cannot be a next hop.
func usableNextHop(addr netip.Addr) error {
	if addr.IsUnspecified() || addr.IsMulticast() || addr.Is4In6() || addr.Zone() != "" || addr.IsLinkLocalUnicast() || addr.IsLoopback() {
		return fmt.Errorf("%s cannot be a next hop: it has to be an ordinary unicast address", addr)
	}
	return nil
}
