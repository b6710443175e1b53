package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// victims are attacked at once by attacks().
func victim(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + i)}) }

func attacks(n int, pps float64, duration time.Duration) gen.Scenario {
	s := gen.Scenario{Seed: 3, Duration: duration, Networks: networks, Benign: gen.Benign{PPS: 500}}
	for i := range n {
		s.Attacks = append(s.Attacks, gen.Attack{Kind: gen.NTPAmplification, Target: victim(i), PPS: pps, Start: duration / 10})
	}
	return s
}

// sent are the frames that a scenario has for an address.
func sent(t *testing.T, s *gen.Scenario, to netip.Addr) (frames [][]byte, times []int64) {
	t.Helper()
	err := s.Packets(func(p *gen.Packet) bool {
		if p.Record.DstAddr() == to {
			frames, times = append(frames, bytes.Clone(p.Frame)), append(times, p.Time)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return frames, times
}

// Fifty victims at once: each one's packets are given as they were sent, some
// of the seconds before among them.
func TestSample(t *testing.T) {
	s := attacks(50, 100, 4*time.Second)
	file := filepath.Join(t.TempDir(), "attack.pcap")
	scenario(t, file, s)
	h := sdktest.New(t, plugin(), fmt.Sprintf("files = [%q]", file))
	h.StartCapture(sdktest.Plan("203.0.113.0/24"))
	time.Sleep(800 * time.Millisecond)
	for _, i := range []int{0, 24, 49} {
		target := netip.PrefixFrom(victim(i), 32)
		got, err := h.Sample(sdk.SampleRequest{Target: target, Direction: "incoming", Limit: 40, For: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		frames, _ := sent(t, &s, victim(i))
		before, at := 0, -1
		for _, x := range got {
			r, ok := x.Packet()
			if !ok || r.DstAddr() != victim(i) || x.Link != 1 || x.WireLen != len(x.Data) || x.Time.IsZero() {
				t.Fatalf("a sample of %v: %+v", victim(i), x)
			}
			if x.Before {
				before++
			}
			next := at + 1
			for next < len(frames) && !bytes.Equal(frames[next], x.Data) {
				next++
			}
			if next == len(frames) {
				t.Fatalf("%v: the frame behind number %d of those sent is none of them, or out of order", victim(i), at)
			}
			at = next
		}
		if len(got) != 40 || before == 0 || before > 8 {
			t.Errorf("%v: %d samples, %d of them from before", victim(i), len(got), before)
		}
	}
}

// A replay gives the same samples each time, from the moment asked for on.
func TestReplaySample(t *testing.T) {
	s := attacks(3, 2000, 2*time.Second)
	file := filepath.Join(t.TempDir(), "attack.pcap")
	scenario(t, file, s)
	frames, times := sent(t, &s, victim(1))
	since := times[len(times)/2]
	for range 2 {
		h := sdktest.New(t, plugin(), fmt.Sprintf("files = [%q]", file))
		h.Mode = sdk.ModeReplay
		got, err := h.ConfigureSampling(sdk.SampleRequest{
			Target: netip.PrefixFrom(victim(1), 32), Direction: "incoming", Limit: 100, For: time.Second, Since: time.Unix(0, since),
		}).Run(sdktest.Plan("203.0.113.0/24"))
		if err != nil || len(got) != 100 {
			t.Fatalf("%d samples, %v", len(got), err)
		}
		last := -1
		for _, x := range got {
			for last++; last < len(frames) && (times[last] != x.Time.UnixNano() || !bytes.Equal(frames[last], x.Data)); last++ {
			}
		}
		if last >= len(frames) || got[0].Time.UnixNano() != since {
			t.Fatalf("the samples are not those that were sent from %d on: they begin at %v", since, got[0].Time)
		}
	}
}
