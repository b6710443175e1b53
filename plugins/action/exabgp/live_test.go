//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// lab is a real ExaBGP and a real gobgpd that it speaks to.
type lab struct {
	t         *testing.T
	dir       string
	exa, peer string // addresses
	port, api int
	running   map[string]*exec.Cmd
	said      map[string]*bytes.Buffer
}

// ExaBGP's side of the plain pipe is what its documentation shows: a process
// that hands on what it reads.
const feeder = `#!/bin/sh
exec 3<>"$1"
while IFS= read -r line <&3; do printf '%s\n' "$line"; done
`

func newLab(t *testing.T) *lab {
	t.Helper()
	for _, name := range []string{"exabgp", "gobgpd", "gobgp"} {
		sdktest.Program(t, name)
	}
	net3 := fmt.Sprintf("127.%d.%d", 1+rand.IntN(250), 1+rand.IntN(250))
	l := &lab{
		t: t, dir: shortDir(t), exa: net3 + ".1", peer: net3 + ".2", port: sdktest.FreePort(t), api: sdktest.FreePort(t),
		running: map[string]*exec.Cmd{}, said: map[string]*bytes.Buffer{},
	}
	if err := os.Mkdir(filepath.Join(l.dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"run/fnm.in", "run/fnm.out", "cmd"} {
		fifo(t, filepath.Join(l.dir, name))
	}
	families := ""
	for _, f := range []string{"ipv4-unicast", "ipv6-unicast", "ipv4-flowspec", "ipv6-flowspec"} {
		families += fmt.Sprintf("[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = %q\n", f)
	}
	l.write("gobgpd.toml", fmt.Sprintf("[global.config]\nas = 65002\nrouter-id = \"10.255.0.2\"\nport = %d\nlocal-address-list = [%q]\n"+
		"[[neighbors]]\n[neighbors.config]\nneighbor-address = %q\npeer-as = 65001\n[neighbors.transport.config]\npassive-mode = true\n", l.port, l.peer, l.exa)+families)
	l.write("feeder.sh", feeder)
	neighbor := fmt.Sprintf("neighbor %s {\n router-id 10.255.0.1;\n local-address %s;\n local-as 65001;\n peer-as 65002;\n connect %d;\n hold-time 30;\n"+
		" family { ipv4 unicast; ipv6 unicast; ipv4 flow; ipv6 flow; }\n", l.peer, l.exa, l.port)
	l.write("cli.conf", neighbor+"}\n")
	l.write("pipe.conf", fmt.Sprintf("process fnm {\n run /bin/sh %s/feeder.sh %s/cmd;\n encoder text;\n}\n", l.dir, l.dir)+neighbor+" api { processes [ fnm ]; }\n}\n")
	t.Cleanup(func() {
		for name := range l.running {
			l.kill(name)
		}
	})
	return l
}

func (l *lab) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) start(name string, env []string, argv ...string) {
	l.t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = l.dir
	cmd.Env = append(os.Environ(), env...)
	said := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = time.Second
	own(cmd)
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.running[name], l.said[name] = cmd, said
}

// kill ends a program and what it has started.
func (l *lab) kill(name string) {
	cmd := l.running[name]
	if cmd == nil {
		return
	}
	killAll(cmd)
	_ = cmd.Wait() // it was killed
	delete(l.running, name)
	if l.t.Failed() {
		l.t.Logf("%s said:\n%s", name, l.said[name])
	}
}

func (l *lab) gobgpd() {
	l.start("gobgpd", nil, "gobgpd", "-f", "gobgpd.toml", "--api-hosts", fmt.Sprintf("127.0.0.1:%d", l.api), "--pprof-disable")
}

// exabgp starts ExaBGP with the CLI's pipes or the plain one.
func (l *lab) exabgp(with string) {
	cli := fmt.Sprint(with == "cli")
	l.start("exabgp", []string{
		"exabgp.daemon.user=root", "exabgp.daemon.drop=false", "exabgp.api.cli=" + cli, "exabgp.api.ack=" + cli, "exabgp.api.pipename=fnm", "exabgp.log.level=INFO",
	}, "exabgp", "--root", l.dir, filepath.Join(l.dir, with+".conf"))
}

// rib is what the neighbour has of a family, a line each.
func (l *lab) rib(family string) []string {
	out, err := exec.Command("gobgp", "-u", "127.0.0.1", "-p", fmt.Sprint(l.api), "global", "rib", "-a", family).CombinedOutput()
	if err != nil || strings.Contains(string(out), "Network not in table") {
		return nil
	}
	var lines []string
	for _, line := range strings.Split(string(out), "\n") {
		if rest, ok := strings.CutPrefix(line, "*>"); ok {
			lines = append(lines, strings.Join(strings.Fields(rest), " "))
		}
	}
	slices.Sort(lines)
	return lines
}

// want waits until the neighbour has just as many routes of a family, each with
// these words.
func (l *lab) want(family string, routes ...[]string) {
	l.t.Helper()
	var got []string
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		got = l.rib(family)
		ok := len(got) == len(routes)
		for i := 0; ok && i < len(routes); i++ {
			ok = slices.ContainsFunc(got, func(line string) bool {
				return !slices.ContainsFunc(routes[i], func(word string) bool { return !strings.Contains(line, word) })
			})
		}
		if ok {
			return
		}
	}
	l.t.Fatalf("the neighbour has of %s:\n%s\nwant %q", family, strings.Join(got, "\n"), routes)
}

// everything is a mitigation of each kind, and want what the neighbour has of it.
func everything() []sdk.Mitigation {
	return []sdk.Mitigation{
		mitigation("original", "203.0.113.5/32", "original"), mitigation("subnet", "203.0.113.5/32", "subnet"), mitigation("rich", "203.0.113.6/32", "rich"),
		mitigation("six", "2001:db8::5/128", "blackhole"),
		labelled(mitigation("ntp", "203.0.113.7/32", "discard"), "ntp_reflection"), labelled(mitigation("syn", "203.0.113.8/32", "limit"), "syn_flood"),
		labelled(mitigation("frag", "203.0.113.9/32", "mark"), "fragmentation"), labelled(mitigation("vrf", "203.0.113.10/32", "divert"), "ack_flood"),
		labelled(mitigation("icmp6", "2001:db8::6/128", "discard"), "icmp_flood"), labelled(mitigation("syn6", "2001:db8::7/128", "limit"), "syn_flood"),
		labelled(mitigation("gre6", "2001:db8::8/128", "mark"), "gre_flood"), labelled(mitigation("vrf6", "2001:db8::9/128", "divert"), "udp_flood"),
		labelled(mitigation("scrub", "203.0.113.11/32", "scrubber"), "udp_flood"),
	}
}

func (l *lab) wantEverything() {
	l.t.Helper()
	l.want("ipv4", []string{"203.0.113.5/32 192.0.2.66", "{Communities: 65001:666}"}, []string{"203.0.113.0/24 192.0.2.66", "65001:777, 65001:778, no-export"},
		[]string{"203.0.113.6/32", "65001 65001 65001", "{Med: 5}", "blackhole, no-export", "LargeCommunity: [ 65001:1:2]", "[65001:100]", "[65001:7]", "[192.0.2.1:5]", "[64086.59904:6]"})
	l.want("ipv6", []string{"2001:db8::5/128 2001:db8:ffff::1", "blackhole, no-export"})
	l.want("ipv4-flowspec",
		[]string{"[destination: 203.0.113.7/32][protocol: ==udp][source-port: ==123]", "[discard]"},
		[]string{"[destination: 203.0.113.8/32][protocol: ==tcp][tcp-flags: S&!A]", "[rate: 125000"},
		[]string{"[destination: 203.0.113.9/32][fragment: is-fragment first-fragment last-fragment]", "[remark: 10]"},
		[]string{"[destination: 203.0.113.10/32][protocol: ==tcp][tcp-flags: !F&!S&!R&!P&A][packet-length: <=400]", "[redirect: 65001:100]"},
		[]string{"[destination: 203.0.113.11/32][protocol: ==udp]", "Extcomms"}) // it leads there by its next hop, which gobgpd drops
	l.want("ipv6-flowspec",
		[]string{"[destination: 2001:db8::6/128/0]", "58", "[discard]"},
		[]string{"[destination: 2001:db8::7/128/0]", "tcp", "[tcp-flags: S&!A]", "[rate: 125000"},
		[]string{"[destination: 2001:db8::8/128/0]", "gre", "[remark: 10]"},
		[]string{"[destination: 2001:db8::9/128/0]", "udp", "[redirect: 65001:100]"})
}

func (l *lab) wantNothing() {
	l.t.Helper()
	for _, family := range []string{"ipv4", "ipv6", "ipv4-flowspec", "ipv6-flowspec"} {
		l.want(family)
	}
}

// Over the plain pipe: all kinds of announcement arrive, an ExaBGP that is killed
// and started again gets them again, and all are withdrawn in the end.
func TestLivePipe(t *testing.T) {
	l := newLab(t)
	l.gobgpd()
	b := newBed(t, settingsOf(func(c *config) { c.Pipe, c.Refresh = filepath.Join(l.dir, "cmd"), 2*time.Second }))
	b.sync(everything()...)
	b.until("original", sdk.MitigationPending, "nobody reads")
	l.exabgp("pipe")
	l.wantEverything()
	b.until("original", sdk.MitigationSent, "")
	l.kill("exabgp")
	b.until("original", sdk.MitigationPending, "")
	l.wantNothing()
	l.exabgp("pipe")
	l.wantEverything()
	b.sync(everything()[1:]...)
	b.until("original", sdk.MitigationReleased, "")
	l.want("ipv4", []string{"203.0.113.0/24"}, []string{"203.0.113.6/32"})
	b.sync()
	l.wantNothing()
}

// Over the CLI's pipes the state follows the neighbour's session: active only
// where it has the route. Restarts of each of the three lose nothing and leave
// nothing behind.
func TestLiveCLI(t *testing.T) {
	l := newLab(t)
	b := newBed(t, settingsOf(func(c *config) { c.CLI = filepath.Join(l.dir, "run/fnm") }))
	b.sync(everything()...)
	b.until("original", sdk.MitigationPending, "nobody reads")
	l.exabgp("cli")
	b.until("original", sdk.MitigationPending, "the session is down")
	l.gobgpd()
	l.wantEverything()
	for _, m := range everything() {
		s := b.until(m.ID, sdk.MitigationActive, "")
		if len(s.Peers) != 1 || s.Peers[0].Peer != l.peer || s.Peers[0].State != sdk.MitigationActive {
			t.Errorf("%s: %+v", m.ID, s.Peers)
		}
	}
	l.kill("exabgp")
	b.until("ntp", sdk.MitigationPending, "")
	l.exabgp("cli")
	l.wantEverything()
	b.until("ntp", sdk.MitigationActive, "")

	// What ends while the plugin does not run is withdrawn when it does again.
	b.restart()
	b.sync(everything()[:4]...)
	b.until("ntp", sdk.MitigationReleased, "")
	l.want("ipv4-flowspec")
	b.until("six", sdk.MitigationActive, "")
	l.kill("gobgpd")
	b.sync(everything()[:4]...)
	b.until("six", sdk.MitigationPending, "the session is down")
	l.gobgpd()
	l.want("ipv6", []string{"2001:db8::5/128"})
	b.until("six", sdk.MitigationActive, "")
	b.sync()
	for _, m := range everything()[:4] {
		b.until(m.ID, sdk.MitigationReleased, "")
	}
	l.wantNothing()
}
