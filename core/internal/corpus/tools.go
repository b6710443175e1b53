package corpus

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// oneWay records on one end of a pair of interfaces what a command sends into
// the other: FILE FRAMES COMMAND...
const oneWay = `set -eu
file=$1 frames=$2
shift 2
ip link set lo up
ip link add out type veth peer name in
ip addr add ` + otherHost + `/24 dev out
ip link set out up
ip link set in up
ip neigh replace ` + ourHost + ` lladdr 02:00:00:00:00:01 dev out
dumpcap -q -P -i in -w "$file" -c "$frames" 2>/dev/null & recorder=$!
while ! [ -s "$file" ]; do sleep 0.02; done
"$@" >/dev/null 2>&1 & sender=$!
(sleep 40; kill $recorder) 2>/dev/null &
wait $recorder || true
kill $sender 2>/dev/null || true
`

// pair is two machines: the server is ours, the client the other one or, with
// "in", ours too: FILE FRAMES WHERE SERVER CLIENT.
const pair = `set -eu
file=$1 frames=$2 where=$3 server=$4 client=$5
ip link set lo up
ip link add out type veth peer name in
unshare --net sleep 100 & other=$!
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.02; done
ip link set in netns $other
inside="nsenter -t $other -n"
ip link set out gso_max_segs 1
$inside ip link set in gso_max_segs 1
ip addr add ` + otherHost + `/24 dev out
ip link set out up
$inside ip addr add ` + ourHost + `/24 dev in
$inside ip link set in up
(dumpcap -q -P -i out -w "$file" -c "$frames" 2>/dev/null; : >"$file.done") &
while ! [ -s "$file" ]; do sleep 0.02; done
if [ -n "$server" ]; then $inside $server >/dev/null 2>&1 & fi
if [ "$where" = in ]; then client="$inside $client"; fi
# The server may not listen yet, and one transfer may not be enough.
until [ -e "$file.done" ]; do $client >/dev/null 2>&1 || sleep 0.2; done
`

// frames are recorded of an attack, talk of a conversation.
const (
	frames = "400"
	talk   = "1500"
)

func oneWayJob(class, origin string, command ...string) job {
	return job{class, origin, func(ctx context.Context, dir, file string) error {
		return isolated(ctx, filepath.Join(dir, "oneway.sh"), append([]string{file, frames}, command...)...)
	}}
}

// hpingJobs are floods from random sources.
func hpingJobs() []job {
	hping := func(kind gen.Kind, args ...string) job {
		return oneWayJob(string(kind), "hping3", append(append([]string{"hping3", "-q", "-i", "u200", "--rand-source"}, args...), ourHost)...)
	}
	return []job{
		hping(gen.SYNFlood, "-S", "-p", "443"),
		hping(gen.SYNACKReflection, "-S", "-A", "-k", "-s", "443", "-p", "40000"),
		hping(gen.ACKFlood, "-A", "-p", "80"),
		hping(gen.RSTFlood, "-R", "-p", "80"),
		hping(gen.UDPFlood, "--udp", "-p", "++1000", "-d", "400"),
		hping(gen.ICMPFlood, "-1", "-d", "56"),
		hping(gen.FragmentFlood, "--udp", "-d", "1400", "-f", "-m", "480"),
		// A station that polls: what it gets are replies.
		{string(gen.MonitoringPoll), "hping3", conversation("in", "", "hping3 -q -1 -i u500 -c 800 "+otherHost)},
	}
}

// conversation records two machines.
func conversation(where, server, client string) func(context.Context, string, string) error {
	return func(ctx context.Context, dir, file string) error {
		return isolated(ctx, filepath.Join(dir, "pair.sh"), file, talk, where, server, client)
	}
}

// iperfJobs are transfers between two machines, most of it towards ours.
func iperfJobs() []job {
	iperf := func(use gen.Use, args string) job {
		return job{string(use), "iperf3", conversation("out", "iperf3 -s", "iperf3 -c "+ourHost+" "+args)}
	}
	return []job{
		iperf(gen.Backup, "-n 1M"),
		iperf(gen.SpeedTest, "-n 200K -P 8"),
		iperf(gen.CDNFill, "-n 300K -P 4 -M 1200"),
		iperf(gen.SoftwareUpdate, "-n 600K -P 2"),
		iperf(gen.VPN, "-u -b 50M -l 1392 -n 1M"),
		iperf(gen.VideoCall, "-u -b 50M -l 1100 -n 1M"),
	}
}

// fixtureJobs send real attacks with tcpreplay.
func fixtureJobs(folder string) []job {
	replay := func(kind gen.Kind, name string) job {
		return oneWayJob(string(kind), "tcpreplay", "tcpreplay", "-q", "-i", "out", "--pps", "5000", filepath.Join(folder, "attacks", name))
	}
	return []job{
		replay(gen.SYNFlood, "pkt.TCP.synflood.spoofed.pcap"),
		replay(gen.DNSAmplification, "amp.dns.RRSIG.fragmented.pcap"),
		replay(gen.SNMPAmplification, "amp.UDP.snmp.src161.pcapng"),
		replay(gen.ISAKMPReflection, "amp.UDP.isakmp.pcap"),
	}
}

// answers are what trafgen sends as a reflector: port, size of the payload, how
// it begins.
var answers = map[gen.Kind]struct {
	port, size int
	head       string
}{
	gen.DNSAmplification:       {53, 1200, "\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\xff\x00\x01"},
	gen.NTPAmplification:       {123, 440, "\xd7\x00\x03\x2a\x00\x06\x00\x48"},
	gen.SSDPAmplification:      {1900, 300, "HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\n"},
	gen.MemcachedAmplification: {11211, 1400, "\x00\x00\x00\x00\x00\x01\x00\x00VALUE a 0 1364\r\n"},
	gen.ChargenAmplification:   {19, 1024, " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n"},
	gen.SNMPAmplification:      {161, 900, "\x30\x82\x03\x80\x02\x01\x01\x04\x06public\xa2"},
	gen.CLDAPAmplification:     {389, 1400, "\x30\x84\x00\x00\x05\x00\x02\x01\x07\x64\x84"},
	gen.ISAKMPReflection:       {500, 200, "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x01\x10\x02\x00\x00\x00\x00\x00\x00\x00\x00\xc8"},
	gen.MDNSAmplification:      {5353, 400, "\x00\x00\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00\x09_services"},
	gen.WSDAmplification:       {3702, 1100, `<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope">`},
	gen.CoAPAmplification:      {5683, 500, "\x60\x45\x12\x34\xc1\x28\xff</sensors/temp>;rt=\"temperature\","},
	gen.ARDAmplification:       {3283, 1006, "\x00\x01\x03\xea\x31\x00"},
	gen.UbiquitiAmplification:  {10001, 180, "\x01\x00\x00\xb0\x02\x00\x0a\x02\x00\x00\x00\x00\x01\xc0\x00\x02\x01"},
	gen.DVRAmplification:       {37810, 700, "\x20\x00\x00\x00DHIP\x00\x00\x00\x00\x00\x00\x00\x00"},
}

const (
	ethernet = "eth(da=02:00:00:00:00:01, sa=02:00:00:00:00:02), "
	// someone of many sends to our host; anywhere is any of 256 addresses.
	toHost   = "ipv4(saddr=drnd(), daddr=" + ourHost + ", ttl=drnd(40, 60)), "
	anywhere = "ipv4(saddr=drnd(), daddr=drnd(168430080, 168430335), ttl=drnd(40, 60)), "
	anyPorts = "udp(sp=drnd(1024, 65535), dp=drnd(1, 65535)), "
)

// trafgenJobs are reflections, a carpet and a mixture.
func trafgenJobs() []job {
	jobs := []job{
		trafgen(gen.Carpet, "{ "+ethernet+anywhere+anyPorts+"fill(0x41, 480) }"),
		trafgen(gen.Mixed,
			"{ "+ethernet+toHost+"tcp(sp=drnd(1024, 65535), dp=443, syn, seq=drnd(), win=64240) }",
			"{ "+ethernet+toHost+anyPorts+"fill(0x41, 480) }",
			"{ "+ethernet+toHost+"icmp4(echorequest), fill(0x41, 56) }"),
	}
	for _, info := range gen.Kinds() {
		a, ok := answers[info.Kind]
		if !ok {
			continue
		}
		var head []string
		for _, c := range []byte(a.head) {
			head = append(head, fmt.Sprintf("0x%02x", c))
		}
		jobs = append(jobs, trafgen(info.Kind, fmt.Sprintf("{ %s%sudp(sp=%d, dp=drnd(1024, 65535)), %s, fill(0x41, %d), drnd(8) }",
			ethernet, toHost, a.port, strings.Join(head, ", "), max(a.size-len(head)-8, 1))))
	}
	return jobs
}

func trafgen(kind gen.Kind, packets ...string) job {
	return job{string(kind), "trafgen", func(ctx context.Context, _, file string) error {
		config := file + ".cfg"
		if err := os.WriteFile(config, []byte(strings.Join(packets, "\n")+"\n"), 0o600); err != nil {
			return err
		}
		out, err := exec.CommandContext(ctx, "trafgen", "--conf", config, "--out", file, "--num", frames, "--cpus", "1").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}}
}
