package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	clock "github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
	parse "github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// ownNetwork gives a test a network of its own, with what it starts from its
// own goroutine, and cables in it: pairs of interfaces that are up and quiet.
// It ends with the test.
func ownNetwork(tb testing.TB, cables ...[2]string) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("it makes a network namespace")
	}
	ip := sdktest.Program(tb, "ip")
	runtime.LockOSThread() // and never unlocked: the thread's network ends with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		sdktest.Absent(tb, fmt.Sprintf("this user may not make a network namespace: %v", err))
	}
	script := ip + " link set lo up"
	for _, c := range cables {
		script += fmt.Sprintf("; %[1]s link add %[2]s type veth peer name %[3]s; for i in %[2]s %[3]s; do "+
			"echo 1 > /proc/sys/net/ipv6/conf/$i/disable_ipv6 || true; %[1]s link set $i up; done", ip, c[0], c[1])
	}
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
}

// wire sends frames from an interface.
type wire struct {
	tb testing.TB
	fd int
}

func newWire(tb testing.TB, name string) *wire {
	tb.Helper()
	link, err := net.InterfaceByName(name)
	if err != nil {
		tb.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // it receives nothing
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
		tb.Fatal(err)
	}
	return &wire{tb, fd}
}

func (w *wire) send(frame []byte) {
	if _, err := unix.Write(w.fd, frame); err != nil {
		w.tb.Fatalf("sending a frame: %v", err)
	}
}

// play sends a scenario's packets when they are due, until enough holds, and
// returns when each was sent, on the stream's clock.
func (w *wire) play(s *gen.Scenario, enough func() bool) (sent []int64) {
	var frames [][]byte
	var due []int64
	if err := s.Packets(func(p *gen.Packet) bool {
		frames, due = append(frames, slices.Clone(p.Frame)), append(due, p.Time-scenarioStart.UnixNano())
		return true
	}); err != nil {
		w.tb.Fatal(err)
	}
	begun := clock.Monotonic()
	asked := begun
	for i, f := range frames {
		now := clock.Monotonic()
		for ; now-begun < due[i]; now = clock.Monotonic() {
			time.Sleep(time.Duration(due[i] - (now - begun)))
		}
		if now-asked > int64(100*time.Millisecond) {
			if asked = now; enough() {
				break
			}
		}
		w.send(f)
		sent = append(sent, clock.Monotonic())
	}
	return sent
}

// mirrorCaptures are the blocks of both ways to take frames from an interface.
func mirrorCaptures(tb testing.TB, dir, name string) map[string]string {
	tb.Helper()
	const rights = "process {\ncapabilities = [\"CAP_NET_RAW\"]\n%s}"
	pcap := ""
	if exec.Command("pkg-config", "--exists", "libpcap").Run() == nil {
		if err := buildPrograms(dir, "libpcap", []string{"plugins/capture/pcap"}); err != nil {
			tb.Fatal(err)
		}
		pcap = fmt.Sprintf("path = %q\n", filepath.Join(dir, "pcap"))
	}
	return map[string]string{
		"afpacket": fmt.Sprintf("interfaces = [%q]\n"+rights, name, ""),
		"pcap":     fmt.Sprintf("interface = %q\n"+rights, name, pcap),
	}
}

// playMirror runs a daemon for each way to capture on one mirror port, and
// sends a plan of attacks there until all have been detected and seen, a
// function that is told of each daemon's state, says that it is enough. The
// daemons' state lies below dir.
func playMirror(tb testing.TB, dir string, floods []flood, seed uint64, seen func(state string) bool) map[string]*latencyTrial {
	tb.Helper()
	ownNetwork(tb, [2]string{"switch", "mirror"})
	scenario := floodScenario(floods, seed)
	trials, daemons := map[string]*latencyTrial{}, map[string]*watched{}
	for plugin, body := range mirrorCaptures(tb, dir, "mirror") {
		own := filepath.Join(dir, plugin+"-state")
		if err := os.Mkdir(own, 0o700); err != nil {
			tb.Fatal(err)
		}
		trials[plugin] = &latencyTrial{floods: floods, packets: floodPackets(tb, floods, scenario), exact: true}
		daemons[plugin] = watch(tb, latencyConfig(tb, own, plugin, body))
	}
	for plugin, w := range daemons {
		awaitInterface(tb, w, filepath.Join(dir, plugin+"-state", "latency.hcl"))
	}
	handed := newWire(tb, "switch").play(scenario, func() bool {
		for plugin, w := range daemons {
			if len(w.log("attack started")) < len(floods) || !seen(mirrorState(dir, plugin)) {
				return false
			}
		}
		return true
	})
	for plugin, l := range trials {
		l.packets, l.handed = l.packets[:len(handed)], handed
		l.finish(tb, daemons[plugin])
	}
	return trials
}

// mirrorState is the state directory of one of playMirror's daemons.
func mirrorState(dir, plugin string) string { return filepath.Join(dir, plugin+"-state", "state") }

// awaitInterface waits until a daemon's capture takes frames: doctor says that
// the interface is well.
func awaitInterface(tb testing.TB, w *watched, config string) {
	tb.Helper()
	w.await(tb, latencyCeiling, "the interface is captured", func() bool {
		out, _ := exec.Command(program, "doctor", "--config", config, "--json").Output() // it fails while something is wrong
		return strings.Contains(string(out), `"interface`) && !strings.Contains(string(out), `"fault"`)
	})
}

// evidenceFiles checks that each attack of a trial has left a capture file with
// packets of its target alone, and a report.
func evidenceFiles(tb testing.TB, state string, l *latencyTrial) {
	tb.Helper()
	for _, e := range l.events {
		if e.Message != "attack started" {
			continue
		}
		found, err := filepath.Glob(filepath.Join(state, "evidence", "*_"+e.ID+".pcap"))
		if err != nil || len(found) != 1 {
			tb.Errorf("%v: capture files %v (%v)", e.Target, found, err)
			continue
		}
		if n := packetsOf(tb, found[0], e.Target, e.Direction); n == 0 {
			tb.Errorf("%s has no packet", found[0])
		}
		report, err := os.ReadFile(strings.TrimSuffix(found[0], ".pcap") + ".txt")
		if err != nil || !strings.Contains(string(report), e.Target.Addr().String()) {
			tb.Errorf("%v: the report: %v\n%s", e.Target, err, report)
		}
	}
}

// packetsOf counts a capture file's packets, which all must be of the target.
func packetsOf(tb testing.TB, path string, target netip.Prefix, direction string) (n int) {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
	for parser := new(parse.Parser); ; n++ {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return n
		}
		var p parse.Record
		if err != nil || parser.Ethernet(&p, data, info.Length) != parse.OK {
			tb.Fatalf("%s: packet %d: %v", path, n, err)
		}
		addr := p.DstAddr()
		if direction == "outgoing" {
			addr = p.SrcAddr()
		}
		if !target.Contains(addr) {
			tb.Errorf("%s: packet %d is of %v", path, n, addr)
		}
	}
}

// Attacks on both families and in both directions, seen at a mirror port by
// either capture: each is detected once and for what it is, and has evidence.
// Times are shown; the bars are for BenchmarkMirrorDelay on a quiet machine.
func TestMirrorDetection(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	var floods []flood
	address := [2]netip.Addr{floodNetwork4.Addr(), floodNetwork6.Addr()}
	for i := range 4 {
		address[i%2] = address[i%2].Next()
		// They go on until they are detected, however busy the machine is.
		floods = append(floods, flood{floodClass{multiple: 4, lasts: 10 * time.Second}, address[i%2], i > 1, 200 * time.Millisecond})
	}
	trials := playMirror(t, dir, floods, 32, func(state string) bool {
		files, err := filepath.Glob(filepath.Join(state, "evidence", "*.pcap"))
		return err == nil && len(files) >= len(floods)
	})
	for plugin, l := range trials {
		out := make([]outcome, len(floods))
		for i, f := range floods {
			out[i].flood = f
			for k, p := range l.packets {
				if p.flood == i {
					out[i].first = l.handed[k]
					break
				}
			}
		}
		for _, e := range l.events {
			i := slices.IndexFunc(floods, func(f flood) bool { return f.host == e.Target.Addr() })
			switch {
			case i < 0 || !e.Target.IsSingleIP():
				t.Errorf("%s: %v was not attacked", plugin, e.Target)
			case e.Message == "attack started":
				out[i].begin(t, e)
			}
		}
		for _, o := range out {
			if o.started == 0 {
				t.Errorf("%s: the attack on %v was never detected", plugin, o.host)
			}
			t.Logf("%s: %v detected after %v, by %s", plugin, o.host, time.Duration(o.started-o.first), o.rule)
		}
		evidenceFiles(t, mirrorState(dir, plugin), l)
	}
}

// BenchmarkMirrorDelay measures how long attacks at a mirror port go unseen,
// from the first packet's sending on: 40 of each class, by either capture.
func BenchmarkMirrorDelay(b *testing.B) {
	const each = 40
	for b.Loop() {
		all := playMirror(b, shortDir(b), planFloods(each*len(floodClasses), 0, 90*time.Second, 33), 34, func(string) bool { return true })
		for _, plugin := range slices.Sorted(maps.Keys(all)) {
			f := all[plugin].figures(all[plugin].judge(b))
			b.Logf("%s\n%v", plugin, f)
			b.ReportMetric(float64(quantile(f.delay, 0.99))/1e6, plugin+"-delay-p99-ms")
			for _, c := range floodClasses {
				b.ReportMetric(float64(quantile(f.detect[c], 0.99))/1e6, fmt.Sprintf("%s-%gx-on-%gx-p99-ms", plugin, c.multiple, c.background))
			}
		}
	}
}
