package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const listConfig = `
network "ours" {
  files = ["list"]
}
hostgroup "g" {
  networks = [network.ours]
  actions  = [action.script.a]
  threshold "t" {
    pps = 1
  }
}
action "script" "a" {}
`

// listed is a configuration with one list, in a directory of its own.
func listed(t *testing.T, content string) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "list")
	put(t, path, content)
	put(t, filepath.Join(dir, "c.hcl"), listConfig)
	return dir, path
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestListFormats(t *testing.T) {
	for _, c := range []struct {
		name, content string
		want          []netip.Prefix
		warnings      int
	}{
		{"plain", "10.0.0.0/8\n2001:db8::/32\n", prefixes("10.0.0.0/8", "2001:db8::/32"), 0},
		{"comments and blanks", "# ours\n\n  10.0.0.0/8\t# all\n   \n#\n192.0.2.0/24", prefixes("10.0.0.0/8", "192.0.2.0/24"), 0},
		{"of other systems", "\uFEFF10.0.0.0/8\r\n192.0.2.0/24\r\n", prefixes("10.0.0.0/8", "192.0.2.0/24"), 0},
		{"bare addresses", "192.0.2.1\n2001:DB8::1\n", prefixes("192.0.2.1/32", "2001:db8::1/128"), 0},
		{"host bits", "192.0.2.1/24\n2001:db8::1/64\n", prefixes("192.0.2.0/24", "2001:db8::/64"), 1},
		{"repeated", "192.0.2.0/24\n10.0.0.0/8\n192.0.2.0/24\n", prefixes("192.0.2.0/24", "10.0.0.0/8"), 1},
		{"nested", "10.0.0.0/8\n10.1.0.0/16\n", prefixes("10.0.0.0/8", "10.1.0.0/16"), 0},
		{"inside IPv6", "::ffff:192.0.2.1\n::ffff:10.1.0.0/112\n", prefixes("192.0.2.1/32", "10.1.0.0/16"), 0},
		{"OpenVZ", "Version: 2.2\n   2a03:f480:1:17:0:0:0:19          101\n         192.0.2.7          102\n", prefixes("2a03:f480:1:17::19/128", "192.0.2.7/32"), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := listed(t, c.content)
			cfg, diags := Load(dir)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			if !slices.Equal(cfg.Networks[0].Prefixes, c.want) {
				t.Errorf("got %v, want %v", cfg.Networks[0].Prefixes, c.want)
			}
			if n := len(diags); n != c.warnings {
				t.Errorf("%d warnings, want %d: %v", n, c.warnings, diags)
			}
		})
	}
	// Two words are a mistake where no container stands behind an address.
	dir, _ := listed(t, "192.0.2.7 102\n")
	if _, diags := Load(dir); !diags.HasErrors() {
		t.Error("a line of veip outside veip is read")
	}
}

// A list that is emptied, halved or gone is held; any other change is not.
func TestHolding(t *testing.T) {
	const before = "10.0.0.0/8\n192.0.2.0/24\n198.51.100.0/24\n2001:db8::/32\n"
	for _, c := range []struct {
		name, content string
		held          bool
		prefixes      int
	}{
		{"emptied", "", true, 4},
		{"comments only", "# gone\n", true, 4},
		{"halved", "10.0.0.0/8\n192.0.2.0/24\n", true, 4},
		{"gone", "-", true, 4},
		{"one less", "10.0.0.0/8\n192.0.2.0/24\n198.51.100.0/24\n", false, 3},
		{"others", "10.0.0.0/9\n192.0.2.0/25\n198.51.100.0/25\n2001:db8::/33\n", false, 4},
		{"more", before + "203.0.113.0/24\n", false, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, path := listed(t, before)
			cfg, _ := Load(dir)
			if _, changed := cfg.Lists[0].Changed(); changed {
				t.Error("changed at once")
			}
			put(t, path, c.content)
			if c.content == "-" {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			if _, changed := cfg.Lists[0].Changed(); !changed {
				t.Error("not changed")
			}
			next, diags := cfg.Relist(Holding(cfg.Lists))
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			list := next.Lists[0]
			if (list.Held != "") != c.held || len(next.Networks[0].Prefixes) != c.prefixes || len(next.Groups[0].Prefixes) != c.prefixes || len(cfg.Groups[0].Prefixes) != 4 {
				t.Errorf("held %q, %v", list.Held, next.Networks[0].Prefixes)
			}
			if (next.Revision == cfg.Revision) != c.held {
				t.Errorf("revision %s becomes %s", cfg.Revision, next.Revision)
			}
			if next.Groups[0].Actions[0].Block != cfg.Actions[0] {
				t.Error("the action's block is another")
			}
			// It stays held, and is held no more once the file is as it was.
			again, _ := next.Relist(Holding(next.Lists))
			if (again.Lists[0].Held != "") != c.held {
				t.Errorf("held again: %q", again.Lists[0].Held)
			}
			put(t, path, before)
			if back, _ := again.Relist(Holding(again.Lists)); back.Lists[0].Held != "" || back.Revision != cfg.Revision {
				t.Errorf("as it was, and held: %q", back.Lists[0].Held)
			}
			put(t, path, "10.0.0.0/8\n")
			if accepted, _ := again.Relist(); accepted.Lists[0].Held != "" || len(accepted.Networks[0].Prefixes) != 1 {
				t.Errorf("accepted: %+v", accepted.Lists[0])
			}
		})
	}
}

// Only lists are read anew: the configuration's own files may be half written.
func TestRelistReadsNothingElse(t *testing.T) {
	dir, path := listed(t, "10.0.0.0/8\n")
	cfg, _ := Load(dir)
	put(t, filepath.Join(dir, "c.hcl"), "nonsense {")
	put(t, path, "10.0.0.0/8\nnonsense\n")
	if _, diags := cfg.Relist(Holding(cfg.Lists)); !diags.HasErrors() || !strings.Contains(diags.Error(), "nonsense") || strings.Contains(diags.Error(), "c.hcl") {
		t.Errorf("a bad line: %v", diags)
	}
	put(t, path, "10.0.0.0/8\n192.0.2.0/24\n")
	next, diags := cfg.Relist(Holding(cfg.Lists))
	if diags.HasErrors() || len(next.Networks[0].Prefixes) != 2 {
		t.Error(diags)
	}
}

func TestLocalAddresses(t *testing.T) {
	const text = `
network "box" {
  local_addresses = true
}
network "named" {
  prefixes = ["192.0.2.1/32"]
}
hostgroup "g" {
  networks = [network.box, network.named]
  threshold "t" {
    pps = 1
  }
}
`
	mine := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::1")}
	var fails error
	own := func(l *loader) { l.addresses = func() ([]netip.Addr, error) { return mine, fails } }
	c, diags := LoadBytes("x.hcl", []byte(text), own)
	noDiagnostics(t, c, diags)
	want := prefixes("198.51.100.1/32", "2001:db8::1/128") // what a network names itself is that network's
	if d := cmp.Diff(want, c.Networks[0].Prefixes, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Error(d)
	}
	mine = nil
	if _, changed := c.Lists[0].Changed(); !changed || c.Lists[0].Path != MachineAddresses {
		t.Errorf("%+v", c.Lists[0])
	}
	next, _ := c.Relist(own, Holding(c.Lists))
	if len(next.Networks[0].Prefixes) != 2 || next.Lists[0].Held == "" {
		t.Errorf("a machine that lost its addresses: %v", next.Networks[0].Prefixes)
	}
	fails = errors.New("not now")
	if _, diags := LoadBytes("x.hcl", []byte(text), own); !diags.HasErrors() {
		t.Error("addresses that cannot be read")
	}
	for _, a := range mustMachine(t) {
		if a.IsLoopback() || a.IsLinkLocalUnicast() || a.Is4In6() {
			t.Errorf("%v is no address that others send to", a)
		}
	}
}

func mustMachine(t *testing.T) []netip.Addr {
	t.Helper()
	list, err := machineAddresses()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A list of our own addresses that are never acted on, as the original's
// networks_whitelist; an empty one is about nobody, not about all.
func TestLocalFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "networks_whitelist"), "# never\n10.0.0.1\n10.1.0.0/16\n")
	put(t, filepath.Join(dir, "c.hcl"), "exemption \"whitelist\" {\n  local       = [\"10.0.0.1\"]\n  local_files = [\"networks_whitelist\"]\n  do_not_act  = true\n}\n")
	c := mustLoad(t, dir)
	if e := c.Exemptions[0]; !e.DoNotAct || !slices.Equal(e.Local, prefixes("10.0.0.1/32", "10.1.0.0/16")) || len(c.Lists) != 1 {
		t.Errorf("%+v", e)
	}
	put(t, filepath.Join(dir, "networks_whitelist"), "")
	if held, _ := c.Relist(Holding(c.Lists)); len(held.Exemptions[0].Local) != 2 || held.Lists[0].Held == "" {
		t.Errorf("%+v", held.Exemptions[0])
	}
	put(t, filepath.Join(dir, "c.hcl"), "exemption \"whitelist\" {\n  local_files = [\"networks_whitelist\"]\n}\n")
	if e := mustLoad(t, dir).Exemptions[0]; len(e.Local) != 1 || e.Local[0] != nowhere {
		t.Errorf("an empty list: %+v", e)
	}
}
