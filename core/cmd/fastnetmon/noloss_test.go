package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// BenchmarkNoLoss offers NetFlow v5 at 1.5 million records a second to the
// program and its plugin on one core, with a receive buffer of 8 MiB, and says
// what became of them. The plugin may have the whole buffer whatever the
// system's limit is (CAP_NET_ADMIN), if the benchmark runs as root.
func BenchmarkNoLoss(b *testing.B) {
	const rate = 1_500_000
	for b.Loop() {
		who := &itself{more: "receive_buffer = \"8MiB\"\n  process {\n    capabilities = [\"CAP_NET_ADMIN\"]\n  }"}
		port := freeUDP(b)
		who.start(b, "netflow5", port)
		play(b, "netflow5", port, 100_000, peerHosts, 2*time.Second) // the tables fill
		settle(b, who)
		before := who.account(b)
		sent := play(b, "netflow5", port, rate, peerHosts, 15*time.Second)
		settle(b, who)
		after := who.account(b)
		granted := "granted"
		if strings.Contains(who.log.String(), "the receive buffer is smaller than asked for") {
			granted = "not granted (see net.core.rmem_max)"
		}
		who.stop(b)
		received, used := after.Received-before.Received, after.Used-before.Used
		fmt.Printf("NetFlow v5, receive buffer of 8 MiB %s: offered %.0f records (%.3g M/s), received %d, used %d, lost", granted, sent.records, sent.records/sent.seconds/1e6, received, used)
		lost := uint64(0)
		for cause, n := range after.Dropped {
			if n -= before.Dropped[cause]; n > 0 {
				fmt.Printf(" %s %d", cause, n)
				lost += n
			}
		}
		fmt.Printf(" %d in all\n", lost)
		b.ReportMetric(sent.records/sent.seconds, "offered/s")
		b.ReportMetric(float64(used)/sent.seconds, "used/s")
		b.ReportMetric(float64(lost)/sent.records, "lost/offered")
	}
}

// account is the ledger of its one input.
func (c *itself) account(b *testing.B) ledgerRow {
	b.Helper()
	var rows []ledgerRow
	if err := json.Unmarshal([]byte(mustRun(b, "ledger", "--config", c.config, "--json").stdout), &rows); err != nil || len(rows) != 1 {
		b.Fatalf("%d rows, %v", len(rows), err)
	}
	return rows[0]
}
