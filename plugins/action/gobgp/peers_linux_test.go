package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// theirAS is the AS of the peers.
const theirAS = 65002

// peer is a real BGP speaker that the plugin talks to.
type peer struct {
	t       *testing.T
	name    string
	address string
	near    string // our address of the session
	dir     string
	argv    []string
	env     []string
	api     string   // of gobgpd
	client  []string // gobgpd's client and how it is reached
	cmd     *exec.Cmd
	done    chan struct{}
	list    func(p *peer, family string) []string // routes of a family, one text each
	brief   func(p *peer, family string) []string // the same where prefixes do; nil: list
}

var hosts atomic.Int32

// newAddress is an address for a peer that no other has.
func newAddress() string {
	n := hosts.Add(1)
	return fmt.Sprintf("10.77.%d.%d", 1+n/250, 1+n%250)
}

// peerOptions vary a peer's configuration.
type peerOptions struct {
	address, near string // 10.77.… unless set
	as            int
	password      string
	restart       bool // graceful restart
	noFlowSpec    bool
	connect       bool   // it connects to us, on port 179
	near1         bool   // TTL security of one hop
	passiveTo     int    // gobgpd: the AS of its neighbour, where that is not ours
	flood         int    // so many routes it has to tell us
	cert, key     string // gobgpd: TLS for its API
	trace         bool   // BIRD: its log has every route that it is told
	limit         int    // BIRD: with more IPv4 routes than these it ends the session for good
}

func (o *peerOptions) complete() {
	if o.address == "" {
		o.address, o.near = newAddress(), newAddress()
	}
	if o.as == 0 {
		o.as = theirAS
	}
	if o.passiveTo == 0 {
		o.passiveTo = ourAS
	}
}

// start runs the peer.
func (p *peer) start() *peer {
	p.t.Helper()
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(p.argv[0], p.argv[1:]...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(p.cmd, p.done)
	p.t.Cleanup(p.kill)
	return p
}

// kill ends the peer.
func (p *peer) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	if p.t.Failed() {
		if b, err := os.ReadFile(filepath.Join(p.dir, "log")); err == nil {
			p.t.Logf("log of %s:\n%s", p.name, b[max(0, len(b)-4000):])
		}
	}
	p.cmd = nil
}

// routes are what the peer has of a family, sorted.
func (p *peer) routes(family string) []string {
	out := p.list(p, family)
	slices.Sort(out)
	return out
}

// ask runs a client program of the peer; "" where it fails.
func (p *peer) ask(argv ...string) string {
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// wantRoutes waits until the peer has as many routes as there are wants, each of
// which contains all the words of one want.
func (p *peer) wantRoutes(family string, wants ...string) {
	p.t.Helper()
	slices.Sort(wants)
	var got []string
	if !eventually(patience, func() bool {
		got = p.routes(family)
		return slices.EqualFunc(got, wants, holds)
	}) {
		p.t.Fatalf("%s has of %s\n%s\nwant\n%s", p.name, family, strings.Join(got, "\n"), strings.Join(wants, "\n"))
	}
}

// holds reports whether a text has all the words.
func holds(text, words string) bool {
	for _, w := range strings.Fields(words) {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// patience is how long something that takes seconds may take on a busy machine.
const patience = 30 * time.Second

func eventually(d time.Duration, f func() bool) bool {
	for end := time.Now().Add(d); ; time.Sleep(20 * time.Millisecond) {
		if f() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// shortDir is a directory with a name short enough for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bgp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // daemons that change their user look in here
		t.Fatal(err)
	}
	return dir
}

// bird is BIRD 2.
func bird(t *testing.T, o peerOptions) *peer {
	t.Helper()
	o.complete()
	dir := shortDir(t)
	options := "passive yes;"
	if o.connect {
		options = "connect delay time 1; connect retry time 1; error wait time 1, 2;"
	}
	if o.password != "" {
		options += fmt.Sprintf(" password %q;", o.password)
	}
	if o.restart {
		options += " graceful restart yes;"
	} else {
		options += " graceful restart off;"
	}
	export, static := "none", ""
	if o.flood > 0 {
		var b strings.Builder
		for i := range o.flood {
			fmt.Fprintf(&b, "route 20.%d.%d.%d/32 blackhole;\n", i>>16, i>>8&0xff, i&0xff)
		}
		export, static = "all", "protocol static { ipv4 { table flood; };\n"+b.String()+"}\n"
	}
	if o.trace {
		options += " debug { routes };"
	}
	limit := ""
	if o.limit > 0 {
		limit = fmt.Sprintf("receive limit %d action disable; ", o.limit)
	}
	channels := "ipv4 { import all; " + limit + "export " + export + "; }; ipv6 { import all; export none; };"
	if !o.noFlowSpec {
		channels += " flow4 { import all; export none; }; flow6 { import all; export none; };"
	}
	id := newAddress()
	writeFile(t, filepath.Join(dir, "bird.conf"), fmt.Sprintf(`
		log stderr all;
		router id %s;
		protocol device { }
		flow4 table f4;
		flow6 table f6;
		ipv4 table flood;
		protocol pipe { table flood; peer table master4; export all; import none; }
		%s
		protocol bgp fnm {
			local %s port 179 as %d;
			neighbor %s as %d;
			strict bind yes;
			multihop 5;
			%s
			%s
		}
	`, id, static, o.address, o.as, o.near, ourAS, options, channels))
	p := &peer{
		t: t, name: "bird", address: o.address, near: o.near, dir: dir, list: birdRoutes,
		argv: []string{sdktest.Program(t, "bird"), "-f", "-c", dir + "/bird.conf", "-s", dir + "/ctl", "-P", dir + "/pid"},
	}
	return p.start()
}

// exported is how many IPv4 routes BIRD has told us of.
func exported(p *peer) int {
	text := p.ask("birdc", "-s", p.dir+"/ctl", "show", "protocols", "all", "fnm")
	var n int
	for _, m := range birdExported.FindAllStringSubmatch(text, -1) {
		k, _ := strconv.Atoi(m[1]) // digits only
		n += k
	}
	return n
}

var birdExported = regexp.MustCompile(`(\d+) exported`)

var birdBreak = regexp.MustCompile(`\n([^\s\n])`)

func birdRoutes(p *peer, family string) []string {
	table := map[string]string{"ipv4": "master4", "ipv6": "master6", "ipv4-flowspec": "f4", "ipv6-flowspec": "f6"}[family]
	text := p.ask("birdc", "-s", p.dir+"/ctl", "show", "route", "all", "table", table, "protocol", "fnm")
	_, text, _ = strings.Cut(text, ":\n")
	var out []string
	for _, part := range strings.Split(birdBreak.ReplaceAllString(text, "\x00$1"), "\x00") {
		if fields := strings.Fields(part); len(fields) > 2 {
			out = append(out, strings.Join(fields, " "))
		}
	}
	return out
}

// gobgpd is GoBGP's own daemon.
func gobgpd(t *testing.T, o peerOptions) *peer {
	t.Helper()
	o.complete()
	dir := shortDir(t)
	var families strings.Builder
	for _, f := range familyNames {
		if o.noFlowSpec && strings.HasSuffix(f, "flowspec") {
			continue
		}
		fmt.Fprintf(&families, `
			[[neighbors.afi-safis]]
			  [neighbors.afi-safis.config]
			    afi-safi-name = %q
			  [neighbors.afi-safis.mp-graceful-restart.config]
			    enabled = %t
		`, f, o.restart)
	}
	writeFile(t, filepath.Join(dir, "gobgpd.toml"), fmt.Sprintf(`
		[global.config]
		  as = %d
		  router-id = %q
		  port = 179
		  local-address-list = [%q]
		[[neighbors]]
		  [neighbors.config]
		    neighbor-address = %q
		    peer-as = %d
		    auth-password = %q
		  [neighbors.transport.config]
		    local-address = %q
		    passive-mode = %t
		  [neighbors.timers.config]
		    connect-retry = 1
		  [neighbors.ebgp-multihop.config]
		    enabled = true
		    multihop-ttl = 5
		  [neighbors.graceful-restart.config]
		    enabled = %t
		    restart-time = 60
		  %s
	`, o.as, newAddress(), o.address, o.near, o.passiveTo, o.password, o.address, !o.connect, o.restart, families.String()))
	port := strconv.Itoa(sdktest.FreePort(t))
	p := &peer{
		t: t, name: "gobgpd", address: o.address, near: o.near, dir: dir, list: gobgpRoutes, api: "127.0.0.1:" + port,
		argv:   []string{sdktest.Program(t, "gobgpd"), "-f", dir + "/gobgpd.toml", "--api-hosts", "127.0.0.1:" + port, "--pprof-disable"},
		client: []string{sdktest.Program(t, "gobgp"), "-u", "127.0.0.1", "-p", port},
	}
	if o.cert != "" {
		p.argv = append(p.argv, "--tls", "--tls-cert-file", o.cert, "--tls-key-file", o.key)
		p.client = append(p.client, "--tls", "--tls-ca-file", o.cert)
	}
	return p.start()
}

func gobgpRoutes(p *peer, family string) []string {
	text := p.ask(append(slices.Clone(p.client), "-j", "global", "rib", "-a", family)...)
	var rib map[string][]json.RawMessage
	if json.Unmarshal([]byte(text), &rib) != nil {
		return nil
	}
	var out []string
	for prefix, paths := range rib {
		for _, x := range paths {
			out = append(out, prefix+" "+string(x))
		}
	}
	return out
}
