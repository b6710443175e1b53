package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

func asPath(t *testing.T, p *api.Path) string {
	t.Helper()
	attrs, err := apiutil.GetNativePathAttributes(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attrs {
		if path, ok := a.(*bgp.PathAttributeAsPath); ok {
			return strings.Trim(bgp.AsPathString(path), " ")
		}
	}
	return ""
}

// hear has a relay listen to a neighbour that says data and goes, and gives
// what gobgp has heard of it: messages, whole ones only, no routes.
func hear(t *testing.T, data []byte) (*session, []byte) {
	t.Helper()
	set := &settings{config: config{LocalAS: ourAS}}
	s := newSession(set, &peerSettings{neighbor: neighbor{Address: "192.0.2.1"}, address: netip.MustParseAddr("192.0.2.1")}, hclog.NewNullLogger(), func() {})
	outer, neighbour := net.Pipe()
	inner, gobgp := net.Pipe()
	heard := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(gobgp)
		heard <- b
	}()
	go func() {
		_, _ = neighbour.Write(data)
		_ = neighbour.Close()
	}()
	r := &relay{s: s, outer: outer, in: bufio.NewReader(outer), inner: inner}
	err := r.inward()
	_, _ = outer.Close(), inner.Close()
	got := <-heard
	if err == nil {
		t.Error("a connection that has ended is not told of")
	}
	for rest := got; len(rest) > 0; {
		if len(rest) < bgp.BGP_HEADER_LENGTH || !bytes.Equal(rest[:16], marker) {
			t.Fatalf("gobgp heard %x", rest)
		}
		n := int(rest[16])<<8 | int(rest[17])
		if n < bgp.BGP_HEADER_LENGTH || n > len(rest) {
			t.Fatalf("gobgp heard a message of %d octets: %x", n, rest)
		}
		if rest[18] == bgp.BGP_MSG_UPDATE && !endOfRIB(rest[:n]) {
			t.Fatalf("gobgp heard an UPDATE: %x", rest[:n])
		}
		rest = rest[n:]
	}
	return s, got
}

// Of what a neighbour says, its routes do not get through, and what it can do
// is seen.
func TestRelay(t *testing.T) {
	open, err := bgp.NewBGPOpenMessage(65002, 90, "192.0.2.1", []bgp.OptionParameterInterface{bgp.NewOptionParameterCapability(
		[]bgp.ParameterCapabilityInterface{bgp.NewCapMultiProtocol(bgp.RF_FS_IPv4_UC)})}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	routes, err := bgp.NewBGPUpdateMessage(nil, []bgp.PathAttributeInterface{
		bgp.NewPathAttributeOrigin(0), bgp.NewPathAttributeNextHop("192.0.2.1"),
	}, []*bgp.IPAddrPrefix{bgp.NewIPAddrPrefix(24, "198.51.100.0")}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	end, err := bgp.NewEndOfRib(bgp.RF_FS_IPv6_UC).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	said := bytes.Join([][]byte{open, keepalive, routes, routes, end, routes}, nil)
	s, heard := hear(t, said)
	// One KEEPALIVE for all three updates, as they come within a second.
	if want := bytes.Join([][]byte{open, keepalive, keepalive, end}, nil); !bytes.Equal(heard, want) {
		t.Errorf("gobgp heard\n%x\nwant\n%x", heard, want)
	}
	if s.refuse != 3 || !s.theirs[bgp.RF_FS_IPv4_UC] || len(s.theirs) != 1 || len(s.keeps) != 0 {
		t.Errorf("%d updates refused, families %v, kept %v", s.refuse, s.theirs, s.keeps)
	}
}
