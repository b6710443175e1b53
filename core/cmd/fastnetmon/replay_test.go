package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// targetConfig is what the fixtures' README gives: 100 pps towards the target.
const targetConfig = `
network "target" {
  prefixes = ["10.10.10.0/24"]
}

hostgroup "default" {
  networks = [network.target]

  threshold "flood" {
    direction = "incoming"
    pps       = 100
  }
}
`

type replayEvent struct {
	Event     string
	ID        string
	Time      string
	Target    string
	Direction string
	HostGroup string
	Threshold string
	Scope     string
	Counter   string
	Unit      string
	Value     float64
	Limit     float64
	Window    float64
	Label     *string
	Crossed   []any `json:"thresholds_crossed"`
	Rates     map[string]map[string]struct{ PPS, BPS float64 }
	Evidence  *struct {
		Samples int
		Tops    map[string]struct{ Rows []struct{ Value string } }
	}

	Packets, Bytes uint64
	Attacks        int
	Directions     map[string]volume
	Families       map[string]volume
	Protocols      map[string]volume
	Counters       map[string]volume
	Ledger         []struct {
		Received uint64
		Used     uint64
		InFlight uint64 `json:"in_flight"`
		Dropped  map[string]uint64
	}
}

type volume struct{ Packets, Bytes uint64 }

func parseEvents(t testing.TB, text string) []replayEvent {
	t.Helper()
	var events []replayEvent
	for line := range strings.Lines(text) {
		var e replayEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("not JSON: %v in %s", err, line)
		}
		events = append(events, e)
	}
	return events
}

func TestReplayOfRealAttacks(t *testing.T) {
	config := write(t, "target.hcl", targetConfig)
	captures, err := filepath.Glob(filepath.Join(fixtures(t), "attacks", "*.pcap*"))
	if err != nil || len(captures) < 4 {
		t.Fatalf("captures: %v, %v", captures, err)
	}
	for _, capture := range captures {
		t.Run(filepath.Base(capture), func(t *testing.T) {
			t.Parallel()
			out := mustRun(t, "replay", "--config", config, "--json", capture).stdout
			checkAttack(t, parseEvents(t, out))
			checkTotals(t, parseEvents(t, out), capture)
			if again := mustRun(t, "replay", "--config", config, "--json", capture).stdout; again != out {
				t.Errorf("the second replay differs:\n%s\n%s", out, again)
			}
			other := convert(t, capture)
			if converted := mustRun(t, "replay", "--config", config, "--json", other).stdout; converted != out {
				t.Errorf("%s as another format differs:\n%s\n%s", capture, out, converted)
			}
		})
	}
}

func checkAttack(t *testing.T, events []replayEvent) {
	t.Helper()
	var ids []string
	for _, e := range events[:len(events)-1] {
		if e.Target != "10.10.10.10" || e.Direction != "incoming" || e.HostGroup != "default" {
			t.Errorf("%s of %s, %s, hostgroup %s", e.Event, e.Target, e.Direction, e.HostGroup)
		}
		if !slices.Contains(ids, e.ID) {
			ids = append(ids, e.ID)
		}
	}
	first, last := events[0], events[len(events)-2]
	if len(ids) != 1 || first.Event != "attack.started" || last.Event != "attack.ended" {
		t.Fatalf("want one attack that starts and ends, got %d: %s … %s", len(ids), first.Event, last.Event)
	}
	if first.Threshold != "flood" || first.Counter != "total" || first.Unit != "pps" || first.Limit != 100 || first.Value <= 100 ||
		first.Window <= 0 || first.Label == nil || len(first.Crossed) == 0 || first.Rates["incoming"]["total"].PPS <= 0 {
		t.Errorf("attack.started lacks something: %+v", first)
	}
}

// checkTotals holds replay.finished against an independent decoder.
func checkTotals(t *testing.T, events []replayEvent, capture string) {
	t.Helper()
	got := events[len(events)-1]
	if got.Event != "replay.finished" {
		t.Fatalf("the last event is %s", got.Event)
	}
	want := tsharkTotals(t, capture)
	if got.Packets != want.all.Packets || got.Bytes != want.all.Bytes {
		t.Errorf("%d packets and %d bytes, tshark counts %d and %d", got.Packets, got.Bytes, want.all.Packets, want.all.Bytes)
	}
	for name, v := range want.protocols {
		if got.Protocols[name] != v {
			t.Errorf("%s: %+v, tshark counts %+v", name, got.Protocols[name], v)
		}
	}
	var families, directions volume
	for _, v := range got.Families {
		families.Packets += v.Packets
		families.Bytes += v.Bytes
	}
	for _, v := range got.Directions {
		directions.Packets += v.Packets
		directions.Bytes += v.Bytes
	}
	if families != want.all || directions != want.all {
		t.Errorf("by family %+v, by direction %+v, in all %+v", families, directions, want.all)
	}
	for _, row := range got.Ledger {
		sum := row.Used + row.InFlight
		for _, n := range row.Dropped {
			sum += n
		}
		if row.Received != sum {
			t.Errorf("the ledger does not balance: %+v", row)
		}
	}
	if got.Attacks != 1 || len(got.Ledger) != 1 {
		t.Errorf("%d attacks, %d rows in the ledger", got.Attacks, len(got.Ledger))
	}
}

type oracle struct {
	all       volume
	protocols map[string]volume
}

// tsharkTotals counts the outermost IP header of every frame.
func tsharkTotals(t *testing.T, capture string) oracle {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "tshark", "-r", capture, "-T", "fields", "-E", "occurrence=f",
		"-e", "ip.len", "-e", "ip.proto", "-e", "ipv6.plen", "-e", "ipv6.nxt", "-o", "ip.defragment:FALSE")
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark (make test installs it): %v", err)
	}
	names := map[string]string{"6": "tcp", "17": "udp", "1": "icmp", "58": "icmp"}
	out := oracle{protocols: map[string]volume{}}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		length, protocol := f[0], f[1]
		extra := uint64(0)
		if length == "" {
			length, protocol, extra = f[2], f[3], 40
		}
		if length == "" {
			continue
		}
		bytes, err := strconv.ParseUint(length, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		name, ok := names[protocol]
		if !ok {
			name = "other"
		}
		v := out.protocols[name]
		v.Packets, v.Bytes = v.Packets+1, v.Bytes+bytes+extra
		out.protocols[name] = v
		out.all.Packets, out.all.Bytes = out.all.Packets+1, out.all.Bytes+bytes+extra
	}
	return out
}

// convert writes the capture in the other format.
func convert(t *testing.T, capture string) string {
	t.Helper()
	head, err := exec.CommandContext(t.Context(), "capinfos", "-t", capture).Output()
	if err != nil {
		t.Fatalf("capinfos (make test installs it): %v", err)
	}
	format := "pcapng"
	if strings.Contains(string(head), "pcapng") {
		format = "pcap"
	}
	out := filepath.Join(t.TempDir(), "converted."+format)
	if text, err := exec.CommandContext(t.Context(), "editcap", "-F", format, capture, out).CombinedOutput(); err != nil {
		t.Fatalf("editcap: %v\n%s", err, text)
	}
	return out
}
