package exporter

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

func TestRow(t *testing.T) {
	s, c, _ := set(t, Options{Blocks: []Block{{Name: "fra_r1", Site: "fra", Source: prefixes("192.0.2.1/32"), Sampling: 1000}}})
	e := find(t, s.View(), ID{Source: netip.MustParseAddrPort("192.0.2.1:5000"), Agent: netip.MustParseAddr("10.0.0.1"), Domain: 3, Version: SFlow5})
	for range 200 {
		c.pass(100 * time.Millisecond)
		e.Datagram(1400)
		e.Records(7)
		e.Rate(0, 0, 0)
	}
	e.Templates(4)
	e.Unknown(2)
	c.pass(3 * time.Second)
	r := row(t, s, e)
	for column, want := range map[string]string{
		"exporter": "fra_r1", "site": "fra", "address": "192.0.2.1:5000", "agent": "10.0.0.1", "protocol": "sflow5", "domain": "3",
		"records/s": "70.0", "datagrams": "200", "sampling": "1000", "sampling from": "block", "templates": "4", "unknown": "2", "last seen": "3s",
	} {
		if r[column] != want {
			t.Errorf("%s: %q, want %q", column, r[column], want)
		}
	}
}

func TestTopPrefixesStayInTheSketch(t *testing.T) {
	s, clock, _ := set(t, Options{})
	v := s.View()
	for n := range 100_000 {
		clock.pass(time.Millisecond)
		src := [16]byte{10: 0xff, 11: 0xff, 12: byte(n >> 16), 13: byte(n >> 8), 14: byte(n)}
		to := dst("198.51.100.9")
		if n%3 == 0 {
			to = dst("2001:db8:1:2::9")
		}
		v.Observe(&src, to)
	}
	r := s.Addresses()
	if len(r.Rows) != 64+lastSize || r.Rows[0][0] != "198.51.100.0/24" || r.Rows[1][0] != "2001:db8:1::/48" {
		t.Errorf("%v", r.Rows[:2])
	}
	if last := r.Rows[64+lastSize-1]; last[0] != "" || !strings.HasSuffix(last[3], "/24") || last[4] != "198.51.100.0/24" && last[4] != "2001:db8:1::/48" {
		t.Errorf("the last record: %v", last)
	}
	if s.sketch.used > sketchSize {
		t.Error("the sketch grows")
	}
}

// states maps the checks of the table "doctor" to their states; the first
// detail that is a fault comes back too.
func states(s *Set, conns []*udp.Conn) (out map[string]string, fault string) {
	out = map[string]string{}
	for _, r := range s.Doctor(conns).Rows {
		out[r[0]] = r[1]
		if r[1] == StateFault && fault == "" {
			fault = r[2]
		}
	}
	return out, fault
}

func TestDoctor(t *testing.T) {
	conns, err := udp.Listen("127.0.0.1:0", 1, udp.Options{ReceiveBuffer: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer conns[0].Close()
	healthy := func(e *Exporter) {
		e.Datagram(100)
		e.Records(100)
		e.Templates(1)
		e.Rate(0, 0, 100)
	}
	for _, c := range []struct {
		name         string
		check, state string
		part         string // of the detail
		do           func(s *Set, c *clocks)
	}{
		{"silence", "datagrams", StateFault, "no datagram has arrived", func(*Set, *clocks) {}},
		{"fallen silent", "datagrams", StateFault, "for 5m0s", func(s *Set, c *clocks) {
			healthy(find(t, s.View(), id("192.0.2.1:1", 1)))
			c.pass(5 * time.Minute)
		}},
		{"stranger", "listed", StateFault, "198.51.100.1", func(s *Set, _ *clocks) { s.View().Find(id("198.51.100.1:1", 1)) }},
		{"malformed", "decoded", StateWarn, "nothing of it", func(s *Set, _ *clocks) {
			e := find(t, s.View(), id("192.0.2.1:1", 1))
			e.Datagram(100)
			e.Malformed(1, "cut")
		}},
		{"template", "templates", StateFault, "no template", func(s *Set, _ *clocks) {
			e := find(t, s.View(), id("192.0.2.1:1", 1))
			e.Datagram(100)
			e.TemplateMissing(1)
		}},
		{"sampling", "sampling", StateWarn, "count 1:1", func(s *Set, _ *clocks) {
			e := find(t, s.View(), id("192.0.2.1:1", 1))
			healthy(e)
			e.Rate(0, 0, 0)
		}},
		{"loss", "sequence", StateWarn, "loss of 50", func(s *Set, _ *clocks) {
			e := find(t, s.View(), id("192.0.2.1:1", 1))
			healthy(e)
			e.Sequence(1, 1)
			e.Sequence(52, 1)
		}},
		{"clock", "clock", StateWarn, "1h0m0s", func(s *Set, c *clocks) {
			e := find(t, s.View(), id("192.0.2.1:1", 1))
			healthy(e)
			now := c.wall.Load()/1e6 - 3_600_000
			e.Flow(now, now, now)
		}},
		{"healthy", "clock", StateOK, "agree", func(s *Set, _ *clocks) { healthy(find(t, s.View(), id("192.0.2.1:1", 1))) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, clock, _ := set(t, Options{OnlyListed: true, Blocks: []Block{{Name: "a", Source: prefixes("192.0.2.0/24")}}})
			c.do(s, clock)
			first, detail := "", ""
			for _, r := range s.Doctor(conns).Rows {
				if first == "" && r[1] != StateOK {
					first = r[0]
				}
				if r[0] == c.check && r[1] == c.state {
					detail = r[2]
				}
			}
			if c.state != StateOK && first != c.check {
				t.Errorf("first named is %q, want %q", first, c.check)
			}
			if !strings.Contains(detail, c.part) {
				t.Errorf("detail %q, want %q", detail, c.part)
			}
		})
	}
	s, _, _ := set(t, Options{})
	if out, _ := states(s, nil); out["bound"] != StateFault {
		t.Errorf("no sockets: %v", out)
	}
	for _, name := range []string{TableExporters, TableDoctor, TableAddresses, TableForward} {
		if r, err := s.Table(name, conns, nil); err != nil || len(r.Columns) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Table("nonsense", conns, nil); err == nil {
		t.Error("there is a table of nonsense")
	}
}

// What arrives but is no telemetry is not taken for silence.
func TestDoctorSeesDatagramsOfNobody(t *testing.T) {
	conns, err := udp.Listen("127.0.0.1:0", 1, udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conns[0].Close()
	from, err := net.Dial("udp", conns[0].LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if _, err := from.Write([]byte("garbage")); err != nil {
		t.Fatal(err)
	}
	if _, err := conns[0].Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, _, _ := set(t, Options{})
	if out, fault := states(s, conns); out["datagrams"] != StateOK {
		t.Errorf("%v, %s", out, fault)
	}
}

// A named exporter that is silent while others send is told of.
func TestDoctorMissesNamedExporters(t *testing.T) {
	s, clock, _ := set(t, Options{Blocks: []Block{
		{Name: "here", Source: prefixes("192.0.2.1/32")}, {Name: "gone", Source: prefixes("192.0.2.2/32")}, {Name: "never", Source: prefixes("192.0.2.3/32")},
	}})
	v := s.View()
	here := find(t, v, id("192.0.2.1:1", 1))
	here.Datagram(1)
	find(t, v, id("192.0.2.2:1", 1)).Datagram(1)
	silent := func() string {
		for _, r := range s.Doctor(nil).Rows {
			if r[0] == "silent" {
				return r[1] + " " + r[2]
			}
		}
		return ""
	}
	if got := silent(); got != "" {
		t.Errorf("at once: %s", got)
	}
	clock.pass(3 * time.Minute)
	if got := silent(); got != "" { // then the row about datagrams tells
		t.Errorf("all are silent: %s", got)
	}
	here.Datagram(1)
	if got := silent(); !strings.HasPrefix(got, StateWarn) || !strings.Contains(got, "names: gone (for 3m0s), never (nothing yet);") {
		t.Errorf("two of three are silent: %q", got)
	}
}

// What may keep datagrams away is at fault only for what it has dropped since
// the capture started.
func TestDoctorOnTheWayToTheSocket(t *testing.T) {
	for name, c := range map[string]struct {
		before, now path
		want        []string
	}{
		"nothing": {path{reverse: 0}, path{}, []string{"datagrams fault no datagram has arrived: "}},
		"long ago": {
			path{reverse: 7, vanished: [2]int64{50, 50}, noPort: 99},
			path{reverse: 7, vanished: [2]int64{50, 50}, noPort: 99},
			[]string{"rp_filter warn the reverse path filter has dropped 7 packets since the start of this machine and is strict on eth0", "datagrams fault "},
		},
		"reverse path": {
			path{reverse: 7},
			path{reverse: 9},
			[]string{"rp_filter fault the reverse path filter has dropped 2 packets since this capture started", "datagrams fault "},
		},
		"firewall": {
			path{vanished: [2]int64{-40, 3}},
			path{vanished: [2]int64{-20, 4}},
			[]string{"firewall fault no datagram has arrived, but 21 packets have reached this machine", "datagrams fault "},
		},
		"a few are nothing": {path{}, path{vanished: [2]int64{enough - 1, -5}}, []string{"datagrams fault "}},
		"another port":      {path{}, path{noPort: 12}, []string{"datagrams fault "}},
	} {
		d := &checkup{}
		d.path(&c.before, c.now, " and is strict on eth0", "no datagram has arrived", 2055)
		if len(d.rows) != len(c.want) {
			t.Errorf("%s: %q", name, d.rows)
			continue
		}
		for i, want := range c.want {
			if got := strings.Join(d.rows[i], " "); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if got := d.rows[len(d.rows)-1][2]; strings.Contains(got, "12 datagrams have come to ports") != (name == "another port") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestPathOf(t *testing.T) {
	four := []byte("Ip: InReceives InHdrErrors InDelivers ReasmReqds ReasmOKs\nIp: 100 5 60 10 4\nUdp: InDatagrams NoPorts\nUdp: 5 11\n" +
		"TcpExt: A IPReversePathFilter B\nTcpExt: 1 7 3\nIpExt: InNoRoutes InMcastPkts\nIpExt: 2 3\n")
	six := []byte("Ip6InReceives                   \t50\nIp6InDelivers                   \t30\nUdp6NoPorts                     \t4\n")
	want := path{reverse: 7, vanished: [2]int64{100 + 4 - 7 - 5 - 60 - 10 - 2 - 3, 20}, noPort: 15}
	if got := pathOf(four, six); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "A", "Ip:", "Ip: InReceives", "Ip: InReceives\nIp:", "Ip: InReceives\nIp: x", "Ip: InReceives\nUdp: 7", "\n\n\n"} {
		if got := pathOf([]byte(bad), []byte(bad)); got != (path{}) {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}
