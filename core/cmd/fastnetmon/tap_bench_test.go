package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// BenchmarkKafkaTap sends sFlow to a daemon that produces every record to Kafka,
// 400,000 a second for five seconds: what the brokers have and what was passed
// over is together what was counted.
func BenchmarkKafkaTap(b *testing.B) {
	broker, port := sdktest.FreePort(b), sdktest.FreePort(b)
	sdktest.NewServer(b, sdktest.Answers(broker), nil, filepath.Join(repository, ".cache/tools/kafka-fake"), "-forget", "-port", fmt.Sprint(broker))
	config := write(b, "tap.hcl", fmt.Sprintf(`
daemon {
  runtime_dir = %q
  state_dir   = %q
}
network "ours" {
  prefixes = ["203.0.113.0/24"]
}
hostgroup "default" {
  networks = [network.ours]
  threshold "flood" {
    pps = 1000000000
  }
}
capture "sflow" "in" {
  listen = ["127.0.0.1:%d"]
}
export "kafka" "bus" {
  brokers = ["127.0.0.1:%d"]
  format  = "protobuf"
  records {}
}
pipeline "main" {
  captures = [capture.sflow.in]
  exports  = [export.kafka.bus]
}
`, b.TempDir(), b.TempDir(), port, broker))
	l := start(b, "run", "--config", config)
	figures := func() map[string]float64 {
		var plugins []api.PluginStatus
		if out := run(b, "plugins", "--config", config, "--json"); out.code != 0 || json.Unmarshal([]byte(out.stdout), &plugins) != nil {
			return nil // it does not run yet
		}
		out := map[string]float64{}
		for _, p := range plugins {
			if p.State == "running" {
				out[p.Kind]++
			}
			for _, f := range p.Figures {
				out[f.Name] = f.Value
			}
		}
		return out
	}
	sdktest.Until(b, "the daemon runs", func() error {
		if f := figures(); f["export"] == 0 || f["capture"] == 0 {
			return fmt.Errorf("%v", f)
		}
		return nil
	})
	var before map[string]float64
	const seconds = 5
	for b.Loop() {
		before = figures()
		mustRun(b, "traffic", "--send", "sflow", "--to", fmt.Sprintf("127.0.0.1:%d", port), "--network", "203.0.113.0/24", "--rate", "400000", "--duration", (seconds * time.Second).String())
	}
	var f map[string]float64
	sdktest.Until(b, "all is accounted for", func() error {
		var rows []ledgerRow
		if err := json.Unmarshal([]byte(mustRun(b, "ledger", "--config", config, "--json").stdout), &rows); err != nil {
			return err
		}
		f = figures()
		given, delivered, passed := f["tap_records_total:result=given"], f["delivered_total:of=records"], f["tap_records_total:result=passed_over"]
		if delivered == 0 || given != delivered || given+passed != float64(rows[0].Used) {
			return fmt.Errorf("%v given, %v delivered, %v passed over of %+v", given, delivered, passed, rows)
		}
		return nil
	})
	b.ReportMetric((f["delivered_total:of=records"]-before["delivered_total:of=records"])/seconds, "delivered/s")
	b.ReportMetric((f["tap_records_total:result=passed_over"]-before["tap_records_total:result=passed_over"])/seconds, "passed-over/s")
	l.stop(b)
}
