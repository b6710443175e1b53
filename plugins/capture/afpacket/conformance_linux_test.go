package main

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	if sdktest.InNamespace(t) {
		sdktest.Conformance(t, plugin(), "interfaces = [\"lo\"]\nring_size = \"1MiB\"\nworkers = 2")
	}
}

// Samples are frames as they were sent, some of them from before they were
// asked for, which still lie in the ring.
func TestSample(t *testing.T) {
	if !sdktest.InNamespace(t, "tcpreplay") {
		return
	}
	cable(t, place{}, "out", place{}, "in")
	file, _, _ := mixed(t, 4000)
	h := sdktest.New(t, plugin(), "interfaces = [\"in\"]\nworkers = 2\nfanout = \"lb\"")
	col := running(t, h)
	replay := func() { command(t, "tcpreplay", "-q", "-i", "out", "--pps", "4000", file) }
	replay()
	settled(t, col)
	done := make(chan struct{})
	go func() { defer close(done); time.Sleep(300 * time.Millisecond); replay() }()
	victim := netip.MustParseAddr("203.0.113.7")
	got, err := h.Sample(sdk.SampleRequest{Target: netip.PrefixFrom(victim, 32), Direction: "incoming", Limit: 50, For: 20 * time.Second})
	<-done
	if err != nil || len(got) != 50 {
		t.Fatalf("%d samples, %v", len(got), err)
	}
	before := 0
	var last time.Time
	for i, x := range got {
		r, ok := x.Packet()
		if !ok || r.DstAddr() != victim || x.Link != 1 || x.WireLen < len(x.Data) || len(x.Data) < 42 || time.Since(x.Time) > time.Minute {
			t.Fatalf("a sample: %+v", x)
		}
		if x.Before {
			before++
			if x.Time.Before(last) {
				t.Errorf("sample %d is older than the one before", i)
			}
			last = x.Time
		}
		if to := victim.As4(); !bytes.Contains(x.Data, to[:]) {
			t.Errorf("the frame is another one's: % x", x.Data)
		}
	}
	if before == 0 || before > 10 {
		t.Errorf("%d of the samples are from before", before)
	}
	// Tags that the kernel had taken out are back in the frames.
	tagged := 0
	for i := range 256 {
		host := netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32)
		got, err := h.Sample(sdk.SampleRequest{Target: host, Limit: 5, For: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range got {
			if r, _ := x.Packet(); r.VLAN != 0 {
				tagged++
				if x.Data[12] != 0x81 || x.Data[13] != 0 {
					t.Fatalf("VLAN %d, and the frame % x", r.VLAN, x.Data[:20])
				}
			}
		}
	}
	if tagged == 0 {
		t.Error("no sample has a tag")
	}
}
