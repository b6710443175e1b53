package pipeline

import (
	"os"
	"testing"
)

// short bounds the steps of a plugin that never answers.
const short = "    start_timeout = \"1s\"\n    timeout = \"1s\"\n"

// oneFlood is the body of a capture made with the SDK.
const oneFlood = "  network = \"10.250.0.0\"\n  waves = 1\n  targets = 1\n  wave_time = \"1s\"\n"

// hostileTable is every way to misbehave, in groups that run beside one honest
// capture and one honest action. Those that take long to stop come first.
var hostileTable = []struct {
	name string
	rows []hostileRow
}{
	{"nobody", []hostileRow{}}, // what the others' delays are to be held against
	{"downstream", []hostileRow{
		{kind: "action", mode: "hangs", sdk: true, process: "    timeout = \"300ms\"\n", logs: `an event was not delivered.*Notify: the plugin did not answer in time`, fate: stays},
		{kind: "action", mode: "late", sdk: true, fate: stays},
		{kind: "action", mode: "panics", sdk: true, logs: `an event was not delivered.*the plugin panicked: no notification today`, fate: stays},
		{kind: "action", mode: "exits", sdk: true, says: `^it ended with exit code 5`},
		{kind: "export", mode: "hangs", sdk: true, process: "    timeout = \"300ms\"\n", logs: `did not answer in time`, fate: stays},
		{kind: "export", mode: "panics", sdk: true, logs: `the plugin panicked: no events today`, fate: stays},
	}},
	{"silence", []hostileRow{
		{kind: "capture", mode: "mute", process: short, says: `no answer within 1s; likely it is not a plugin of this program, or it hangs before the handshake`},
		{kind: "capture", mode: "hang_describe", process: short, says: `was launched but did not describe itself: no answer within 1s`},
		{kind: "capture", mode: "hang_configure", process: short, says: `^configuring: Configure: the plugin did not answer in time`},
		{kind: "capture", mode: "hang_attach", process: short, says: `^attaching: Attach: the plugin did not answer in time`},
		{kind: "capture", mode: "hang_applyplan", process: short, says: `^attaching: ApplyPlan: the plugin did not answer in time`},
		{kind: "capture", mode: "hang_start", process: short, says: `^starting: Start: the plugin did not answer in time`},
		{kind: "capture", mode: "hang_watch", says: `^no word of health for 3s$`},
		{kind: "capture", mode: "hang_drain", fate: stays},
		{kind: "capture", mode: "stops", says: `^no word of health for 3s$`},
		{kind: "capture", mode: "late", fate: stays},
		{kind: "capture", mode: "ring_silent", says: `^killed: it handed on nothing for 10s$`, logs: `^a capture hands on nothing, though its process says that it is well`},
		{kind: "capture", mode: "ring_stuck", says: `^it hands on nothing, not even that there is nothing$`},
	}},
	{"words", []hostileRow{
		{kind: "capture", mode: "stdout_before", process: short, says: `did not complete the handshake.*(?s:.*)leave stdout alone\); the first line of its stdout is "Loading modules, please wait \.\.\."`},
		{kind: "capture", mode: "stdout_long", process: short, says: `did not complete the handshake.*the first line of its stdout is "xxxx`},
		{kind: "capture", mode: "stdout_after", fate: stays},
		{kind: "capture", mode: "stderr", says: `^it ended with exit code 6`, logs: `^lines of plugin output left out <nil> \d`},
		{kind: "capture", mode: "protocol_old", says: `speaks version 0 of the plugin contract, this program version 1; update the plugin$`},
		{kind: "capture", mode: "protocol_new", says: `speaks version 7 of the plugin contract, this program version 1; update this program$`},
		{kind: "capture", mode: "lies_protocol", says: `speaks version 2 of the plugin contract, this program version 1; update this program$`},
		{kind: "capture", mode: "misnamed", says: `the program says that it is capture "other", not capture "misnamed"; rename the file or install the right one$`},
		{kind: "capture", mode: "huge_describe", says: `did not describe itself: Describe: a message is larger than 16777216 bytes`},
		{kind: "capture", mode: "huge_configure", says: `^configuring: Configure: a message is larger than 16777216 bytes`},
		{kind: "capture", mode: "huge_watch", says: `^no word of health: the stream of health is broken: Watch: a word of health is larger than 1048576 bytes`},
		{kind: "capture", mode: "large_watch", fate: stays},
		{kind: "capture", mode: "invalid_watch", says: `^no word of health: the stream of health is broken: Watch: .*invalid UTF-8`},
		{kind: "capture", mode: "workers", says: `^configuring: the plugin asks for 2147483648 workers and 0 causes; at most 1024 and \d+ are possible$`},
	}},
	{"deaths", []hostileRow{
		{kind: "capture", mode: "exits", says: `it ended with exit code 3.*(?s:.*)cannot read /etc/hostile\.conf: no such file`},
		{kind: "capture", mode: "crashes", says: `^it ended with exit code 2: panic: boom`},
		{kind: "capture", mode: "panics_configure", says: `^it ended with exit code 2: panic: no Configure today`},
		{kind: "capture", mode: "panics", sdk: true, body: oneFlood, says: `^starting: Start: the plugin panicked: no start today \(its log has the stack\)`},
		{kind: "capture", mode: "fails", sdk: true, body: oneFlood, says: `^its work failed: the cable is gone$`},
		{kind: "capture", mode: "refuses_later", says: `^the plugin refuses its configuration$`, fate: givenUp},
		{kind: "capture", mode: "forks", says: `^it ended with exit code 1`},
		{kind: "capture", mode: "grandchild", says: `^it ended with exit code 1`},
		{kind: "capture", mode: "allocates", process: "    memory = \"96MiB\"\n", says: `^killed: out of memory limit 96MiB$`},
	}},
	{"rings", []hostileRow{
		{kind: "capture", mode: "ring_magic", fate: stays},
		{kind: "capture", mode: "ring_tail", fate: stays},
		{kind: "capture", mode: "ring_stats", says: `^it ended with exit code 1`},
		{kind: "capture", mode: "ring_head_back", says: lied, logs: lies + `head went backwards`},
		{kind: "capture", mode: "ring_head_far", says: lied, logs: lies + `head is more than the capacity ahead of tail`},
		{kind: "capture", mode: "ring_head_end", says: lied, logs: lies + `head is more than the capacity ahead of tail`},
		{kind: "capture", mode: "ring_garbage", says: lied, logs: lies + `ring is not believed: record of kind 200 where a flush must stand`},
		{kind: "capture", mode: "ring_double", says: lied, logs: lies + `ring is not believed: flush number 8 after 8`},
		{kind: "capture", mode: "ring_rewrite", says: lied, logs: lies},
		{kind: "capture", mode: "ring_ghost", says: `^it ended with exit code 1|` + lied, ghost: true},
	}},
	{"flushes", []hostileRow{
		{kind: "capture", mode: "flush_generation", says: lied, logs: lies + `ring is not believed: flush of generation \d+ in a ring of generation \d+`},
		{kind: "capture", mode: "flush_number", says: lied, logs: lies + `ring is not believed: flush number 3 after 7`},
		{kind: "capture", mode: "flush_ahead", says: lied, logs: lies + `ring is not believed: window end \d+ lies more than 100ms ahead of the time \d+`},
		{kind: "capture", mode: "flush_window", says: lied, logs: lies + `ring is not believed: window end \d+ is not a positive multiple of 50 ms`},
		{kind: "capture", mode: "flush_past", says: lied, logs: lies + `ring is not believed: window end went back from \d+ to \d+`},
		{kind: "capture", mode: "flush_totals", says: lied, logs: lies + `ring is not believed: a running total went back in flush 8`},
		{kind: "capture", mode: "flush_revision", says: lied, logs: lies + `ring is not believed: plan revision 1001 is unknown`},
		{kind: "capture", mode: "flush_after_end", says: lied, logs: lies + `ring is not believed: flush 9 after the finished one`},
		{kind: "capture", mode: "flush_deltas", says: lied, logs: lies + `ring is not believed: record of kind 1 where a delta must stand`},
		{kind: "capture", mode: "flush_numbers", fate: stays},
		{kind: "capture", mode: "delta_outside", fate: stays},
		{kind: "capture", mode: "delta_id", fate: stays},
		{kind: "capture", mode: "delta_shape", fate: stays},
	}},
	{"filters", []hostileRow{
		{kind: "filter", mode: "stops", says: `^no word of health for 3s$`},
		{kind: "filter", mode: "cursor_far", fate: stays},
		{kind: "filter", mode: "cursor_back", fate: stays},
		{kind: "filter", mode: "cursor_noise", fate: stays},
		{kind: "filter", mode: "hangs", sdk: true, fate: stays},
	}},
}

// lied is how the state tells of a process that was killed for its ring.
const lied = `^killed: the ring of worker 0 lies: `

// lies begins what the log says of a ring that is given up.
const lies = `^the capture's ring lies: its process is replaced, with a new ring .*`

// Plugins may do their worst: the others go on detecting, the state and the log
// say what happened, memory stays, and each is replaced or given up as it is
// configured. With FASTNETMON_SOAK each has a daemon of its own.
func TestHostilePlugins(t *testing.T) {
	built, descriptors := buildHostile(t), openDescriptors(t)
	var beds []*hostileBed
	try := func(name string, rows []hostileRow) {
		t.Run(name, func(t *testing.T) {
			b := newHostileBed(t, built, rows)
			beds = append(beds, b)
			b.run()
		})
	}
	for _, group := range hostileTable {
		if os.Getenv("FASTNETMON_SOAK") == "" || len(group.rows) == 0 {
			try(group.name, group.rows)
			continue
		}
		for _, row := range group.rows {
			try(row.kind+"_"+row.mode, []hostileRow{row})
		}
	}
	// Those that hang take their time; meanwhile the next were tried.
	t.Run("ends", func(t *testing.T) {
		for _, b := range beds {
			b.t = t
			b.checkEnd()
		}
		checkDescriptors(t, descriptors)
	})
}
