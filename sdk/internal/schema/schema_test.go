package schema_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/msgpack"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/schema"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
)

type colour string

type tls struct {
	Cert string `hcl:"cert"`
	Key  string `hcl:"key,optional,sensitive"`
}

type neighbor struct {
	Addr  string         `hcl:"address,label"`
	Port  uint16         `hcl:"port,optional"`
	Hold  time.Duration  `hcl:"hold,optional"`
	Cap   []capability   `hcl:"capability,block"`
	Extra map[string]int `hcl:"extra,optional"`
}

func (n *neighbor) SetDefaults() { n.Port = 179 }

type capability struct {
	Family string `hcl:"family,label"`
	Kind   string `hcl:"kind,label"`
	On     bool   `hcl:"on,attr"`
}

type everything struct {
	Text     string                   `hcl:"text" doc:"some text"`
	Colour   colour                   `hcl:"colour,optional"`
	Flag     bool                     `hcl:"flag,optional"`
	Int      int                      `hcl:"int,optional"`
	Small    int8                     `hcl:"small,optional"`
	Big      uint64                   `hcl:"big,optional"`
	Float    float64                  `hcl:"float,optional"`
	Wait     time.Duration            `hcl:"wait,optional"`
	Addr     netip.Addr               `hcl:"addr,optional"`
	Prefix   netip.Prefix             `hcl:"prefix,optional"`
	Listen   []netip.AddrPort         `hcl:"listen,optional"`
	Size     sdk.Size                 `hcl:"size,optional"`
	Rate     sdk.Rate                 `hcl:"rate,optional"`
	Names    []string                 `hcl:"names,optional"`
	Nested   [][]int                  `hcl:"nested,optional"`
	Env      map[string]string        `hcl:"env,optional"`
	Waits    map[string]time.Duration `hcl:"waits,optional"`
	Maybe    *int                     `hcl:"maybe,optional"`
	Secret   string                   `hcl:"secret,optional,sensitive"`
	TLS      *tls                     `hcl:"tls,block"`
	Neighbor []neighbor               `hcl:"neighbor,block"`
	Pointers []*capability            `hcl:"pointer,block"`
	Fixed    tls                      `hcl:"fixed,block,optional"`
	Ignored  chan int
}

var defaults = everything{
	Colour: "red", Names: []string{"a"}, Env: map[string]string{"A": "1"}, Wait: time.Second, Fixed: tls{Cert: "default"},
}

func of(t *testing.T, v any) *schema.Schema {
	t.Helper()
	s, err := schema.Of(reflect.TypeOf(v))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// decode sends an HCL body the whole way: host's decoder, wire, plugin.
func decode(t *testing.T, s *schema.Schema, defaults any, body string) (any, string) {
	t.Helper()
	file, diags := hclparse.NewParser().ParseHCL([]byte(body), "x.hcl")
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	value, diags := hcldec.Decode(file.Body, s.Block.DecoderSpec(), nil)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	b, err := msgpack.Marshal(value, s.Block.ImpliedType())
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := s.Unpack(b)
	if err != nil {
		t.Fatal(err)
	}
	out, problems := s.Decode(unpacked, defaults)
	if len(problems) == 0 {
		return out, ""
	}
	return out, problems.Error()
}

func TestEveryType(t *testing.T) {
	seven := 7
	for _, c := range []struct {
		name, body string
		want       func(*everything)
	}{
		{"defaults stay", `text = "x"`, func(*everything) {}},
		{"attributes", `
text   = "x"
colour = "blue"
flag   = true
int    = -5
small  = -128
big    = 18446744073709551615
float  = 2.5
wait   = "1h30m"
addr   = "2001:db8::1"
prefix = "192.0.2.0/24"
listen = ["0.0.0.0:6343", "[::]:6343"]
size   = "2GiB"
rate   = "1.5G"
names  = ["b", "c"]
nested = [[1], [], [2, 3]]
env    = { B = "2" }
waits  = { x = "5ms" }
maybe  = 7
secret = "s"
`, func(e *everything) {
			e.Colour, e.Flag, e.Int, e.Small, e.Big, e.Float = "blue", true, -5, -128, 1<<64-1, 2.5
			e.Wait, e.Addr, e.Prefix = 90*time.Minute, netip.MustParseAddr("2001:db8::1"), netip.MustParsePrefix("192.0.2.0/24")
			e.Listen = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:6343"), netip.MustParseAddrPort("[::]:6343")}
			e.Size, e.Rate, e.Names, e.Nested = 2<<30, 15e8, []string{"b", "c"}, [][]int{{1}, {}, {2, 3}}
			e.Env, e.Waits, e.Maybe, e.Secret = map[string]string{"B": "2"}, map[string]time.Duration{"x": 5 * time.Millisecond}, &seven, "s"
		}},
		{"numbers as text", "text = 5\nint = \"5\"\nsize = 1024", func(e *everything) { e.Text, e.Int, e.Size = "5", 5, 1024 }},
		{"blocks", `
text = "x"
tls { cert = "c" }
fixed {
  cert = "other"
  key  = "k"
}
neighbor "any string at all" {
  hold  = "90s"
  extra = { a = 1 }
  capability "ipv4" "unicast" { on = true }
  capability "ipv6" "unicast" { on = false }
}
neighbor "b" { port = 1179 }
pointer "x" "y" { on = true }
`, func(e *everything) {
			e.TLS, e.Fixed = &tls{Cert: "c"}, tls{"other", "k"}
			e.Neighbor = []neighbor{
				{"any string at all", 179, 90 * time.Second, []capability{{"ipv4", "unicast", true}, {"ipv6", "unicast", false}}, map[string]int{"a": 1}},
				{Addr: "b", Port: 1179},
			}
			e.Pointers = []*capability{{"x", "y", true}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, problems := decode(t, of(t, everything{}), defaults, c.body)
			if problems != "" {
				t.Fatal(problems)
			}
			want := defaults
			want.Text = "x"
			c.want(&want)
			if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, netip.AddrPort{}), cmpopts.IgnoreFields(everything{}, "Ignored")); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestDefaultsAreNotShared(t *testing.T) {
	s := of(t, everything{})
	first, _ := decode(t, s, defaults, `text = "x"`)
	e := first.(everything)
	e.Names[0], e.Env["A"] = "changed", "changed"
	if defaults.Names[0] != "a" || defaults.Env["A"] != "1" {
		t.Error("changing a decoded configuration changes the defaults")
	}
}

func TestComplaintsPointAtTheFault(t *testing.T) {
	for body, want := range map[string]string{
		`wait = "5"`:                        `wait: Invalid duration: "5" is no duration: write a number and a unit, such as "500ms", "30s", "5m" or "1h30m".`,
		`wait = "-5s"`:                      `wait: Invalid duration: "-5s" is negative.`,
		`small = 128`:                       `small: Number out of range: "128" must be a whole number from -128 to 127.`,
		`big = -1`:                          `big: Number out of range: "-1" must be a whole number from 0 to 18446744073709551615.`,
		`int = 0.5`:                         `int: Number out of range: "0.5" must be a whole number from`,
		`int = 1e30`:                        `int: Number out of range`,
		`addr = ""`:                         `addr: Invalid address: "" is not an IP address`,
		`prefix = "192.0.2.0"`:              `prefix: Invalid prefix: "192.0.2.0" is not a prefix`,
		`listen = ["1.2.3.4:5", "nowhere"]`: `listen[1]: Invalid address: "nowhere" is not an IP address with a port`,
		`size = "2 apples"`:                 `size: Invalid value: "2 apples": a size is a number and a unit`,
		`rate = "1GiB"`:                     `rate: Invalid value: "1GiB": a rate is a number and a unit`,
		`names = ["a", null]`:               `names[1]: Missing value`,
		`nested = [[1], [2, 0.5]]`:          `nested[1][1]: Number out of range`,
		`waits = { "a b" = "x" }`:           `waits["a b"]: Invalid duration`,
		"neighbor \"a\" {}\nneighbor \"b\" {\n hold = \"x\"\n}": `neighbor[1].hold: Invalid duration`,
	} {
		_, got := decode(t, of(t, everything{}), defaults, "text = \"x\"\n"+body)
		if !strings.HasPrefix(got, want) || strings.Contains(got, "\n") {
			t.Errorf("%s\n got %s\nwant %s", body, got, want)
		}
	}
}

type secrets struct {
	Wait time.Duration `hcl:"wait,optional,sensitive"`
	Addr netip.Addr    `hcl:"addr,optional,sensitive"`
	Size sdk.Size      `hcl:"size,optional,sensitive"`
	Int  int           `hcl:"int,optional,sensitive"`
}

func TestSecretsAreNotQuoted(t *testing.T) {
	for _, body := range []string{`wait = "hunter2"`, `addr = "hunter2"`, `size = "hunter2"`, `int = 2.22`} {
		_, got := decode(t, of(t, secrets{}), secrets{}, body)
		if got == "" || strings.Contains(got, "hunter") || strings.Contains(got, "2.22") {
			t.Errorf("%s: %q", body, got)
		}
	}
}

func TestWrongTypeOfValue(t *testing.T) {
	s := of(t, secrets{})
	for _, v := range []cty.Value{
		cty.StringVal("x"), cty.EmptyObjectVal, cty.NullVal(s.Block.ImpliedType()), cty.UnknownVal(s.Block.ImpliedType()),
	} {
		if _, diags := s.Decode(v, secrets{}); !diags.HasErrors() {
			t.Errorf("%#v was decoded", v)
		}
	}
}

func TestStructsThatAreNoSchema(t *testing.T) {
	type inner struct {
		X string `hcl:"x"`
	}
	type loop struct {
		Next []loop `hcl:"next,block"`
	}
	for _, c := range []struct {
		v    any
		want string
	}{
		{5, "the configuration must be a struct, not int"},
		{struct {
			a string `hcl:"a"`
		}{}, "field a: it has an hcl tag but is not exported"},
		{struct {
			A string `hcl:"a,remain"`
		}{}, `field A: hcl tag option "remain" is none of`},
		{struct {
			A chan int `hcl:"a"`
		}{}, "field A: chan int cannot be an attribute"},
		{struct {
			A any `hcl:"a"`
		}{}, "field A: interface {} cannot be an attribute"},
		{struct {
			A inner `hcl:"a"`
		}{}, "is a struct: tag it as a block"},
		{struct {
			A []*int `hcl:"a"`
		}{}, "elements of a list or map cannot be pointers"},
		{struct {
			A map[int]string `hcl:"a"`
		}{}, "a map's keys are strings, not int"},
		{struct {
			A string `hcl:"a,block"`
		}{}, "a block is a struct, a pointer to one or a slice of them, not string"},
		{struct {
			A string `hcl:"a,label"`
		}{}, "only nested blocks have labels"},
		{struct {
			A []struct {
				L int `hcl:"l,label"`
			} `hcl:"a,block"`
		}{}, "a label is a string, not int"},
		{struct {
			A []inner `hcl:"a,block,sensitive"`
		}{}, "only attributes can be sensitive"},
		{struct {
			A string `hcl:"process,optional"`
		}{}, `the name "process" is reserved for the core`},
		{struct {
			A []inner `hcl:"process,block"`
		}{}, `the name "process" is reserved for the core`},
		{struct {
			A string `hcl:"a b"`
		}{}, `attribute name "a b" is no HCL identifier`},
		{struct {
			A string `hcl:""`
		}{}, `attribute name "" is no HCL identifier`},
		{struct {
			A string `hcl:"a"`
			B string `hcl:"a"`
		}{}, `name "a" is used twice`},
		{struct {
			A []struct {
				L string `hcl:"x,label"`
				X string `hcl:"x"`
			} `hcl:"a,block"`
		}{}, `name "x" is used twice`},
		{struct{ inner }{}, "embedded field inner has no hcl tag"},
		{struct {
			A []struct{ X string } `hcl:"a"`
		}{}, "is a struct without tagged fields"},
		{struct {
			A []struct {
				X string `hcl:"x,optional"`
			} `hcl:"a"`
		}{}, "a tag is a name"},
		{struct {
			A []struct {
				X []inner `hcl:"x"`
			} `hcl:"a"`
		}{}, "structs in an attribute do not nest"},
		{loop{}, "contains itself"},
	} {
		_, err := schema.Of(reflect.TypeOf(c.v))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T: got %v, want %s", c.v, err, c.want)
		}
	}
}

func TestSchemaTravels(t *testing.T) {
	block := of(t, everything{}).Block
	p, err := wire.BlockToProto(&block)
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.BlockFromProto(p)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(block, got, cmp.Comparer(func(a, b cty.Type) bool { return a.Equals(b) })); d != "" {
		t.Error(d)
	}
	if !got.ImpliedType().Equals(block.ImpliedType()) {
		t.Error("the implied type changes")
	}
}

// FuzzUnpack: whatever bytes come as a configuration, decoding neither
// crashes nor accepts what does not fit.
func FuzzUnpack(f *testing.F) {
	s, err := schema.Of(reflect.TypeFor[everything]())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := s.Unpack(b)
		if err != nil {
			return
		}
		out, diags := s.Decode(v, defaults)
		if _, ok := out.(everything); !ok && !diags.HasErrors() {
			t.Errorf("no value and no complaint: %#v", v)
		}
	})
}

// TestExportersArrive sends what the core makes of `exporter` blocks to the
// struct that flow captures have for them.
func TestExportersArrive(t *testing.T) {
	type config struct {
		Exporters []exporter.Block `hcl:"exporters,optional"`
	}
	got, problems := decode(t, of(t, config{}), config{}, `exporters = [{
  name = "fra_r1", source = ["192.0.2.0/24"], agent = ["10.0.0.1/32"], domain = [0, 4294967295], site = "fra",
  sampling = 4096, count = "ingress", interfaces = ["12", "ae0"], deduplicate = "edge",
}]`)
	want := config{Exporters: []exporter.Block{{
		Name: "fra_r1", Source: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Agent: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")},
		Domain: []uint32{0, 1<<32 - 1}, Site: "fra", Sampling: 4096, Count: "ingress", Interfaces: []string{"12", "ae0"}, Deduplicate: "edge",
	}}}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); d != "" || problems != "" {
		t.Errorf("%s (-want +got)\n%s", problems, d)
	}
	_, problems = decode(t, of(t, config{}), config{}, `exporters = [{
  name = "x", source = ["nonsense"], agent = null, domain = [-1], site = "", sampling = 0, count = "", interfaces = [], deduplicate = "",
}]`)
	for _, part := range []string{"exporters[0].source[0]", "exporters[0].domain[0]"} {
		if !strings.Contains(problems, part) {
			t.Errorf("%q lacks %s", problems, part)
		}
	}
}
