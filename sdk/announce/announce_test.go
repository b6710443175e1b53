package announce

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/flowspec"
)

func TestCommunities(t *testing.T) {
	for in, want := range map[string]string{"65001:666": "65001:666", "blackhole": "65535:666", "No-Export": "65535:65281", "0:0": "0:0"} {
		if c, err := ParseCommunity(in); err != nil || c.String() != want {
			t.Errorf("%s: %s, %v", in, c, err)
		}
	}
	if c, _ := ParseCommunity("65535:666"); c.Name() != "blackhole" {
		t.Error(c.Name())
	}
	if l, err := ParseLarge("4200000000:1:2"); err != nil || l.String() != "4200000000:1:2" {
		t.Error(l, err)
	}
	for in, want := range map[string]Extended{
		"rt:65001:100":        {0x00, 0x02, 0xfd, 0xe9, 0, 0, 0, 100},
		"soo:192.0.2.1:5":     {0x01, 0x03, 192, 0, 2, 1, 0, 5},
		"RT:4200000000:6":     {0x02, 0x02, 0xfa, 0x56, 0xea, 0, 0, 6},
		"color:100":           {0x03, 0x0b, 0, 0, 0, 0, 0, 100},
		"rt:65001:4294967295": {0x00, 0x02, 0xfd, 0xe9, 0xff, 0xff, 0xff, 0xff},
	} {
		e, err := ParseExtended(in)
		if err != nil || e != want || e.IsColor() != strings.HasPrefix(in, "color") {
			t.Errorf("%s: %x, %v", in, e, err)
		}
	}
	for _, bad := range []string{"", "1", "65536:1", "1:2:3", "65001:666\n", "-1:0", "rt", "rt:", "rt:1:2:3", "soo:2001:db8::1:5", "rt:4200000000:65536", "color:", "1:4294967296:0"} {
		if _, err := ParseCommunity(bad); err == nil {
			t.Errorf("community %q was read", bad)
		}
		if _, err := ParseExtended(bad); err == nil {
			t.Errorf("extended community %q was read", bad)
		}
		if _, err := ParseLarge(bad); err == nil && bad != "1:2:3" {
			t.Errorf("large community %q was read", bad)
		}
	}
}

func at(int) diag.Path { return nil }

// one reads a block without mistakes.
func one(t *testing.T, b Block) *Profile {
	t.Helper()
	all, ds := Read([]Block{b}, at)
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	return all[b.Name]
}

// What rules do is read into numbers, whatever speaker writes them.
func TestActions(t *testing.T) {
	rate, dscp := sdk.Size(125000), 10
	for _, c := range []struct {
		b    Block
		want Action
	}{
		{Block{Then: Discard}, Action{Then: Discard}},
		{Block{Then: RateLimit, BytesPerSecond: &rate}, Action{Then: RateLimit, BytesPerSecond: 125000}},
		{Block{Then: Mark, DSCP: &dscp}, Action{Then: Mark, DSCP: 10}},
		{Block{Then: Redirect, Redirect: "192.0.2.99"}, Action{Then: Redirect, To: netip.MustParseAddr("192.0.2.99")}},
		{Block{Then: Redirect, Redirect: "65001:100"}, Action{Then: Redirect, Target: Extended{0x80, 0x08, 0xfd, 0xe9, 0, 0, 0, 100}}},
		{Block{Then: Redirect, Redirect: "192.0.2.1:100"}, Action{Then: Redirect, Target: Extended{0x81, 0x08, 192, 0, 2, 1, 0, 100}}},
		{Block{Then: Redirect, Redirect: "4200000000:100"}, Action{Then: Redirect, Target: Extended{0x82, 0x08, 0xfa, 0x56, 0xea, 0, 0, 100}}},
	} {
		c.b.Prefix = PrefixHost
		p := one(t, c.b)
		if p.Action != c.want || !p.FlowSpec() || p.Discards() != (c.b.Then == Discard) {
			t.Errorf("%+v, want %+v", p.Action, c.want)
		}
	}
	if as, addr, n := (Extended{0x82, 0x08, 0xfa, 0x56, 0xea, 0, 0, 100}).Administrator(); as != 4200000000 || addr.IsValid() || n != 100 {
		t.Error(as, addr, n)
	}
	if as, addr, n := (Extended{0x81, 0x08, 192, 0, 2, 1, 0, 5}).Administrator(); as != 0 || addr.String() != "192.0.2.1" || n != 5 {
		t.Error(as, addr, n)
	}
	for _, bad := range []string{"::ffff:192.0.2.1", "127.0.0.1", "fe80::1%eth0", "scrubber", "65001", "192.0.2.1:65536"} {
		if _, ds := Read([]Block{{Prefix: PrefixHost, Then: Redirect, Redirect: bad}}, at); !ds.HasErrors() {
			t.Errorf("a redirection to %q was accepted", bad)
		}
	}
}

func TestFind(t *testing.T) {
	all := Profiles{"a": {}, "b": {}}
	for name, want := range map[string]string{"c": `no announce block "c"; there are ["a" "b"]`, "": "action.x.NAME.a"} {
		if _, err := all.Find("x", name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if p, err := all.Find("x", "b"); err != nil || p != all["b"] {
		t.Error(p, err)
	}
	if _, err := (Profiles{}).Find("x", ""); err == nil {
		t.Error("found in nothing")
	}
}

// What a hostgroup sets is the mitigation's alone: the profile's own lists stay
// as they are.
func TestOverrideLeavesTheProfile(t *testing.T) {
	b := Block{Name: "b", Communities: []string{"65001:1"}}
	b.SetDefaults()
	b.NextHop = netip.MustParseAddr("192.0.2.66")
	p := one(t, b)
	if got := p.Addresses(); !slices.Equal(got, []netip.Addr{b.NextHop}) {
		t.Error(got)
	}
	a, err := p.Override(map[string][]string{"communities": {"65001:2", "65001:2"}, "next_hop": {"192.0.2.67"}})
	if err != nil || !slices.Equal(a.Communities, []Community{65001<<16 | 2, NoExport}) || a.NextHop.String() != "192.0.2.67" {
		t.Errorf("%+v, %v", a, err)
	}
	if p.Attributes.NextHop != b.NextHop || p.Attributes.Communities[0] != 65001<<16|1 {
		t.Errorf("%+v", p.Attributes)
	}
}

// FuzzPlan wants nothing that lies outside the mitigation's network, no default
// route, and no rule that drops everything, whatever is asked for and set.
func FuzzPlan(f *testing.F) {
	f.Add("203.0.113.5/32", "203.0.113.0/24", "ntp_reflection", "next_hop", "192.0.2.67", "discard", "53", uint8(24), false)
	f.Add("2001:db8::5/128", "2001:db8::/32", "", "communities", "65001:1", "redirect", "", uint8(48), true)
	f.Add("0.0.0.0/0", "0.0.0.0/0", "mixed", "med", "1", "", "1-2", uint8(1), true)
	f.Add("::ffff:203.0.113.5/128", "::/0", "syn_flood", "local_pref", "x", "mark", "x", uint8(0), false)
	f.Fuzz(func(t *testing.T, target, subnet, label, name, value, then, port string, length uint8, whole bool) {
		var m sdk.Mitigation
		m.Target, _ = netip.ParsePrefix(target)
		m.Subnet, _ = netip.ParsePrefix(subnet)
		m.Event.Label, m.Event.Counter = label, "total"
		if name != "" {
			m.Attributes = map[string][]string{name: {value}}
		}
		rate, dscp := sdk.Size(1000), int(length)
		b := Block{Prefix: PrefixHost, Then: then}
		switch then {
		case "":
			b.NextHop, b.NextHopV6 = netip.MustParseAddr("192.0.2.66"), netip.MustParseAddr("2001:db8:ffff::66")
		case RateLimit:
			b.BytesPerSecond = &rate
		case Mark:
			b.DSCP = &dscp
		case Redirect:
			b.Redirect = value
		}
		if then != "" && port != "" {
			b.Matches = []flowspec.Match{{SourcePort: []string{port}}}
		}
		if whole {
			b.Prefix = PrefixSubnet
		} else if length > 0 {
			b.PrefixLength = []int{int(length), int(length)}
		}
		all, ds := Read([]Block{b}, at)
		if ds.HasErrors() {
			return
		}
		p := all[""]
		plan, err := p.Plan(&m)
		if err != nil {
			return
		}
		if !Inside(plan.Prefix, m.Subnet) || plan.Prefix.Bits() == 0 || plan.Prefix != plan.Prefix.Masked() || plan.Prefix.Addr().Is4In6() {
			t.Errorf("%s leaves for %s in %s", plan.Prefix, m.Target, m.Subnet)
		}
		if p.FlowSpec() != (len(plan.Rules) > 0) {
			t.Errorf("%d rules of %+v", len(plan.Rules), p)
		}
		for _, r := range plan.Rules {
			if p.Discards() && r.Conditions(plan.Prefix.Addr().Is6()) == 0 {
				t.Error("a rule drops everything")
			}
		}
	})
}
