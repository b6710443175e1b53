package mitigate

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// FuzzRequests takes any prefixes that people and attacks may name, and any that
// a plugin may make of them, one "TARGET ANNOUNCED FLAGS" a line: whatever they
// are, nothing outside the allowed set gets into what a plugin is told.
func FuzzRequests(f *testing.F) {
	f.Add("203.0.113.5/32 203.0.113.5/32 d")
	f.Add("203.0.113.5/32 0.0.0.0/0 d\n2001:db8::1/128 ::/0 d\n203.0.113.5/32 203.0.113.0/24 d")
	f.Add("203.0.113.5/32 203.0.113.5/32 fd\n203.0.113.9/32 203.0.113.9/32 fd1")
	f.Add("::ffff:203.0.113.5/128 ::ffff:203.0.113.5/128 d\n198.51.100.1/32 203.0.113.77/32 d")
	f.Add("2001:db8:ff::1/128 2001:db8:ff::1/128 d\n2001:db8::/32 2001:db8::/32 d")
	f.Fuzz(func(t *testing.T, text string) {
		s := &stage{t: t, now: Moment{Boot: time.Hour, Wall: time.Unix(1_700_000_000, 0)}}
		guard := testGuard(4)
		s.m = NewMachine(guard, func() string { s.n++; return fmt.Sprint("m", s.n) }, s.now)
		s.m.Up(block)
		made := map[string]sdk.Announcement{}
		for line := range strings.Lines(text) {
			words := strings.Fields(line)
			if len(words) != 3 {
				continue
			}
			target, err1 := netip.ParsePrefix(words[0])
			announced, err2 := netip.ParsePrefix(words[1])
			if err1 != nil || err2 != nil {
				continue
			}
			a := sdk.Announcement{Prefix: announced.Masked(), FlowSpec: strings.Contains(words[2], "f"), Discard: strings.Contains(words[2], "d"), Matches: strings.Count(words[2], "1")}
			id, err := s.m.Ban(&Ban{Action: Action{Block: block}, Target: target.Masked(), Direction: "incoming", For: time.Hour, Rules: s.rules(ReleaseAuto)})
			if err != nil {
				continue
			}
			for _, j := range s.m.Previews(block, 10) {
				made[j.id] = a
				s.m.Previewed(j, []sdk.Announcement{a}, nil)
			}
			_ = s.m.Free(id, "root") // a person may try, too
			for _, j := range s.m.Previews(block, 10) {
				s.m.Previewed(j, []sdk.Announcement{made[j.id]}, nil)
			}
		}
		set, _ := s.m.Set(block)
		for _, x := range set {
			a := made[x.ID]
			ours := netip.MustParsePrefix("203.0.113.0/24")
			length := 32
			if a.Prefix.Addr().Is6() {
				ours, length = netip.MustParsePrefix("2001:db8::/32"), 128
			}
			switch p := a.Prefix; {
			case p.Bits() != length, !ours.Contains(p.Addr()):
				t.Errorf("%v is told", p)
			case p.Addr() == netip.MustParseAddr("203.0.113.9"), netip.MustParsePrefix("2001:db8:ff::/64").Contains(p.Addr()):
				t.Errorf("%v, which is protected, is told", p)
			case a.FlowSpec && a.Discard && a.Matches == 0:
				t.Errorf("a rule for all of %v is told", p)
			}
		}
	})
}
