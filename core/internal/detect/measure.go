package detect

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/fastnetmon-go/fastnetmon/core/internal/engine"
	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// Indexes of engine.DirRates.
const (
	total      = engine.CounterTotal
	tcp        = 1 + ring.CounterTCP
	udp        = 1 + ring.CounterUDP
	icmp       = 1 + ring.CounterICMP
	tcpSYN     = 1 + ring.CounterTCPSYN
	fragmented = 1 + ring.CounterFragmented
)

// typeShare is the share of total packets above which a counter names the
// attack.
const typeShare = 0.9

// measure takes the rates of the moment; at a new peak of the average it judges
// the attack's type and protocol anew.
func (a *attack) measure(r engine.HostRates) {
	a.Rates = r
	now := &r.Dir[a.Direction]
	if a.Type == "" || now.Packets[total] > a.judged {
		a.judged = now.Packets[total]
		a.Type, a.Protocol = attackType(now), attackProtocol(now)
	}
	a.PeakPPS = max(a.PeakPPS, now.Packets[total])
}

// attackType is the original's rule: the first of these counters that has more
// than 0.9 of the packets.
func attackType(r *engine.DirRates) string {
	for _, c := range [...]struct {
		counter int
		name    string
	}{{tcpSYN, "syn_flood"}, {icmp, "icmp_flood"}, {fragmented, "ip_fragmentation"}, {udp, "udp_flood"}} {
		if r.Packets[c.counter] > typeShare*r.Packets[total] {
			return c.name
		}
	}
	return "unknown"
}

// attackProtocol is the original's rule: the protocol with the most packets,
// tcp before udp before icmp, tcp where there is none of them.
func attackProtocol(r *engine.DirRates) string {
	name, most := "tcp", r.Packets[tcp]
	if r.Packets[udp] > most {
		name, most = "udp", r.Packets[udp]
	}
	if r.Packets[icmp] > most {
		name = "icmp"
	}
	return name
}

// attackID hashes what makes an attack one: the same input under the same
// configuration and seed gives the same id.
func attackID(seed uint64, c *engine.Crossing, revision string) string {
	h := sha256.New()
	addr := c.Target.Addr().As16()
	b := binary.LittleEndian.AppendUint64(nil, seed)
	b = append(b, addr[:]...)
	b = append(b, byte(c.Target.Bits()), byte(c.Direction))
	b = binary.LittleEndian.AppendUint64(b, uint64(c.At))
	if c.Scope != engine.ScopeHost {
		b = binary.LittleEndian.AppendUint32(append(b, byte(c.Scope)), c.Group)
		b = binary.LittleEndian.AppendUint32(b, c.Network)
	}
	h.Write(append(b, revision...))
	return hex.EncodeToString(h.Sum(nil)[:8])
}
