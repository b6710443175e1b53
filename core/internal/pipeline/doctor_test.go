package pipeline

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/config"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func examinationOf() *examination {
	return &examination{cfg: &config.Config{
		Networks: []*config.Network{{Name: "ours", Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/25"), netip.MustParsePrefix("2001:db8::/32")}}},
		Groups: []*config.HostGroup{
			{Name: "quiet", Average: time.Second},
			{Name: "default", Average: 5 * time.Second, Thresholds: []*config.Threshold{{Name: "flood", PPS: 20000}, {Name: "bits", BPS: 1e9}}},
		},
	}}
}

func table(columns string, rows ...string) []PluginTable {
	t := PluginTable{Plugin: "flow.routers", Rows: sdk.Rows{Columns: strings.Split(columns, "|")}}
	for _, r := range rows {
		t.Rows.Rows = append(t.Rows.Rows, strings.Split(r, "|"))
	}
	room := maxRows
	t.bound(&room)
	return []PluginTable{t}
}

// only returns the state and detail of the one check of that name.
func (x *examination) only(t *testing.T, name string) (state, detail string) {
	t.Helper()
	for _, c := range x.checks {
		if c.Name == name && state == "" {
			state, detail = c.State, c.Detail
		} else if c.Name == name {
			t.Errorf("%s is checked twice", name)
		}
	}
	return state, detail
}

func TestDoctorComparesAddresses(t *testing.T) {
	for _, c := range []struct {
		prefixes    []string
		ours, other int // of the last records
		state, part string
	}{
		{[]string{"198.51.100.0/24|19|19||"}, 0, 19, "", ""}, // too few to tell
		{[]string{"198.51.100.0/24|70|100||", "2001:db9::/48|40|100||"}, 0, 20, "fault", "198.51.100.0/24 (70 %), 2001:db9::/48 (40 %)"},
		{[]string{"198.51.100.0/24|100|100||", "203.0.113.0/24|100|100||"}, 100, 0, "ok", "100 %"},
		// Of networks with many prefixes none is frequent.
		{[]string{"198.51.100.0/24|1|100||"}, 60, 40, "ok", "60 %"},
		{[]string{"198.51.100.0/24|90|100||", "203.0.113.0/24|10|100||"}, 10, 90, "warn", "10 % of its records have an address inside our networks; the most frequent other prefixes are 198.51.100.0/24 (90 %):"},
		{[]string{"nonsense|x|y|x|y", "|100|100||"}, 0, 20, "fault", "are :"},
	} {
		x := examinationOf()
		rows := c.prefixes
		for i := range c.ours {
			rows = append(rows, []string{"|||198.51.100.0/24|203.0.113.0/24", "|||2001:db8:7::/48|2001:db9::/48"}[i%2])
		}
		for range c.other {
			rows = append(rows, "|||198.51.100.0/24|192.0.2.0/24")
		}
		x.addresses(table("prefix|records|of|source|destination", rows...))
		if state, detail := x.only(t, "addresses"); state != c.state || !strings.Contains(detail, c.part) {
			t.Errorf("%v: %s %q, want %s %q", c.prefixes, state, detail, c.state, c.part)
		}
	}
}

func TestDoctorComparesDirections(t *testing.T) {
	for _, c := range []struct {
		in, out, other float64
		state, part    string
	}{
		{0, 0, 0, "", ""},
		{0, 0, 500, "fault", "none from or to our networks"},
		{0, 500, 500, "fault", "only outgoing"},
		{500, 0, 0, "warn", "only incoming"},
		{500, 500, 500, "ok", "500 packets"},
	} {
		x := examinationOf()
		for direction, pps := range map[string]float64{"incoming": c.in, "outgoing": c.out, "other": c.other} {
			x.totals = append(x.totals, sdk.TotalRate{Direction: direction, Family: 4, Counters: []sdk.CounterRate{{Counter: "total", PPS: pps}}})
		}
		x.directions()
		if state, detail := x.only(t, "direction"); state != c.state || !strings.Contains(detail, c.part) {
			t.Errorf("%+v: %s %q", c, state, detail)
		}
	}
}

// Directions that no threshold looks at need not be seen.
func TestDoctorAsksForDirectionsWithLimits(t *testing.T) {
	for direction, want := range map[string]string{"incoming": "ok", "outgoing": "warn", "": "warn"} {
		x := examinationOf()
		for _, l := range x.cfg.Groups[1].Thresholds {
			l.Direction = direction
		}
		x.totals = []sdk.TotalRate{{Direction: "incoming", Family: 4, Counters: []sdk.CounterRate{{Counter: "total", PPS: 500}}}}
		x.directions()
		if state, detail := x.only(t, "direction"); state != want {
			t.Errorf("%q: %s %q", direction, state, detail)
		}
	}
}

func TestDoctorComparesExportersWithLimits(t *testing.T) {
	x := examinationOf()
	x.exporters(table("exporter|sampling|visible pps|active timeout", "a|1|-|4s", "b|1000-8192|49152|1m0s", "c|||", "d|3000|18000|5s"))
	if state, detail := x.only(t, "timeout"); state != "warn" || !strings.Contains(detail, "up to 1m0s late by b,") || !strings.Contains(detail, `"default" averages over 5s`) {
		t.Errorf("timeout: %s %q", state, detail)
	}
	// 20,000 pps × 5 s ÷ 3000 are 33 samples, ÷ 8192 only 12.
	if state, detail := x.only(t, "visible"); state != "warn" || !strings.Contains(detail, "flood of hostgroup") || !strings.Contains(detail, "rate of b (1:8192, from 49152 pps):") {
		t.Errorf("visible: %s %q", state, detail)
	}
}

func TestDoctorNamesTheFirstFaultFirst(t *testing.T) {
	x := examinationOf()
	x.plugins(table("check|state|detail", "bound|ok|a", "datagrams|ok|g", "clock|fault|b", "own|fault|c", "datagrams|warn|d", "templates|fault|e", "sampling|nonsense|f"))
	x.plugins([]PluginTable{{Plugin: "flow.dead", Err: errors.New("it hangs")}})
	var order []string
	for _, c := range x.sorted() {
		order = append(order, c.Name+" "+c.State)
	}
	want := "running fault,templates fault,clock fault,own fault,datagrams warn,bound ok,sampling ok"
	if got := strings.Join(order, ","); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	x = examinationOf()
	x.running()
	if state, _ := x.only(t, "running"); state != "fault" {
		t.Error("a configuration without captures is no fault")
	}
}

func TestTablesAreBounded(t *testing.T) {
	long := PluginTable{Rows: sdk.Rows{Columns: make([]string, 1000), Rows: make([][]string, 100)}}
	for i := range long.Rows.Rows {
		long.Rows.Rows[i] = make([]string, i*20)
	}
	room := 30
	long.bound(&room)
	if len(long.Rows.Columns) != maxCells || len(long.Rows.Rows) != 30 || room != 0 || long.Err == nil {
		t.Errorf("%d columns, %d rows, room for %d, %v", len(long.Rows.Columns), len(long.Rows.Rows), room, long.Err)
	}
	for _, r := range long.Rows.Rows {
		if len(r) != maxCells {
			t.Errorf("a row of %d cells", len(r))
		}
	}
	if long.cell(0, "nothing") != "" {
		t.Error("a cell of a column that is not there")
	}
}
