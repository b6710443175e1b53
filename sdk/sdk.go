// Package sdk is all a plugin author imports: the interfaces of the four
// kinds of plugin, the values that cross between core and plugin, and Serve.
package sdk

import (
	"context"
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/sdk/internal/feed"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Writer is a capture worker's way out: Reserve records, fill them, Commit
// them. One goroutine uses a Writer at a time.
type Writer = feed.Writer

// Capture turns packets, samples or flow records into records.
type Capture interface {
	// Run is called once per worker, each with its own Writer, and returns
	// when ctx is done or the input has ended. A nil error before ctx is done
	// means the input has finished: the capture is not restarted.
	Run(ctx context.Context, w *Writer) error
}

// Filter judges records that lie in the record ring.
type Filter interface {
	// NewWorker is called once per capture worker; each Judge is used by one
	// goroutine only.
	NewWorker() (Judge, error)
}

// PartialError is an error of Judge about some records of a batch only: those
// with traffic.VerdictUnjudged follow the filter's on_failure, the verdicts of the
// others stand.
type PartialError = feed.PartialError

// Optional interfaces of a Judge: one that holds what must be given back has a
// method Close() error, called when it is not used any more. One that
// wants to know who told of a record is an ExporterUser.

// ExporterUser is a Judge that asks for addresses of exporters: address gives
// that of traffic.Record.Exporter, invalid where it is not known. It is called
// once before the first batch; address may be used in Judge only.
type ExporterUser interface {
	Exporters(address func(index uint32) netip.Addr)
}

// Judge writes a verdict (and, if it likes, classes and another sampling rate)
// into each record of a batch, in place. A record left at traffic.VerdictNone
// passes. A Sampling that is changed, but not to 0, changes the packets and
// octets for which the record counts in proportion; the SDK does that. On an error
// the batch follows the filter's on_failure.
type Judge interface {
	Judge(batch []traffic.Record) error
}

// Notifier is told of every event. Wrap an error in Retry to be asked again.
type Notifier interface {
	Notify(ctx context.Context, e Event) error
}

// Mitigator holds a set of mitigations.
type Mitigator interface {
	// Sync receives the whole desired set, after every change and whenever
	// either side has started. What is not in it any more is to be taken back.
	// On an error it is called again, so it must bear being called twice. What
	// desired refers to is handed over again and must not be changed.
	Sync(ctx context.Context, desired []Mitigation) error
	// Watch reports what is truly there until ctx is done: everything that is
	// held at first, then every change. Close, without a Sync before it that says
	// otherwise, leaves in force what can be left so.
	Watch(ctx context.Context, report func(MitigationStatus)) error
}

// Previewer is a Mitigator that can tell what a mitigation would come to. The
// core asks before it syncs and when the mitigation's event has changed, and
// keeps back what a guard forbids. One without it is taken to drop all traffic
// to the target and nothing else. An error means that it cannot be done. It may
// be called before Start, of a plugin that is only asked.
type Previewer interface {
	Preview(ctx context.Context, m Mitigation) ([]Announcement, error)
}

// Protector is a Mitigator that names addresses which nothing may be done
// against: its neighbours, next hops, its own. Asked once it is configured.
type Protector interface {
	Protected() []netip.Prefix
}

// Overrider is a Mitigator whose profiles' attributes hostgroups may set
// otherwise. It is asked once it is configured whether these make sense;
// the error is shown at the hostgroup's place. Without it no attribute is accepted.
type Overrider interface {
	Override(profile string, attributes map[string][]string) error
}

// Exporter writes rates and events somewhere.
type Exporter interface {
	Export(ctx context.Context, s Snapshot) error
	Events(ctx context.Context, e []Event) error
}

// Optional interfaces: a plugin's value may implement any of them.

// Validator is asked to check the configuration beyond its schema; nothing
// may be opened or changed. Errors made with diag point at attributes.
type Validator interface {
	Validate(ctx context.Context) error
}

// Starter is called once after the configuration was accepted and before any
// other work: open sockets and files here.
type Starter interface {
	Start(ctx context.Context) error
}

// Health is asked now and then; an error is shown as the plugin's state.
type Health interface {
	Health(ctx context.Context) error
}

// Closer is called when the plugin drains, after its last call.
type Closer interface {
	Close(ctx context.Context) error
}

// Workers tells how many times Run is to be called; 1 without it.
type Workers interface {
	Workers() int
}

// FlowSplitter tells that records of one flow may come from several workers,
// each of which then counts it as a flow of its own: the core refuses limits in
// flows per second beside such a capture.
type FlowSplitter interface {
	SplitsFlows() bool
}

// Causes names the causes that a capture passes to Writer.Dropped, at most
// 251, in the order of their index.
type Causes interface {
	Causes() []string
}

// Inspector turns evidence into findings that join the attack. An action may
// be one alone.
type Inspector interface {
	Inspect(ctx context.Context, e Evidence) ([]Finding, error)
}

// Sampler gives the frames or records of a target that a capture still has
// from the seconds before. What it commits from then on is watched for without
// its doing.
type Sampler interface {
	Sample(ctx context.Context, req SampleRequest, give func(Sample) error) error
}

// ExporterNames says who an index in traffic.Record.Exporter stands for; "" it
// is not known any more.
type ExporterNames interface {
	ExporterName(index uint32) string
}

// ExporterAddresses is a capture that tells filters which address an index in
// traffic.Record.Exporter stands for; the zero Addr: it is not known.
type ExporterAddresses interface {
	ExporterAddr(index uint32) netip.Addr
}

// Tap receives raw records, behind the filters, without holding anything up: what
// comes while it is called and does not fit into the ring is lost to it. The SDK
// counts that in the figure tap_records_total, whose label result is given, failed
// (an error) or passed_over. There is a goroutine for each record ring.
type Tap interface {
	Tap(ctx context.Context, batch []traffic.Record) error
}

// TapMaker is an exporter with a Tap of its own for each record ring, that is
// for each worker of each capture: one goroutine uses it at a time. address gives
// that of traffic.Record.Exporter, invalid where it is not known; it may be called
// in Tap only. An exporter that is a TapMaker need not be a Tap itself.
type TapMaker interface {
	NewTap(address func(index uint32) netip.Addr) Tap
}

// Metrics gives figures of the plugin's own, once a second. The core shows them
// in "fastnetmon plugins" and to exporters, as plugin_NAME with the label
// plugin: Prometheus has fastnetmon_plugin_NAME. A name is NAME or
// NAME:KEY=VALUE,KEY=VALUE… with keys in order; NAME and KEY are small letters,
// digits and underscores, a letter first. One that ends in _total only grows. At
// most 64 are heard.
type Metrics interface {
	Metrics() []Metric
}

// TapChooser is a Tap or TapMaker that only wants records in some configurations: with
// records asked for, every one of them has to lie in shared memory first.
type TapChooser interface {
	WantsRecords() bool
}

// Table gives rows for people: "fastnetmon exporters" and doctor.
type Table interface {
	Table(ctx context.Context, name string) (Rows, error)
}
