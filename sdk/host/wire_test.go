package host_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// fill sets every exported field of v to something random that is not zero,
// so that a field which a conversion forgets is seen.
func fill(r *rand.Rand, v reflect.Value, depth int) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<32), 1+r.Int64N(1e9-1)).UTC()))
		return
	case time.Duration: // the wire's unit is the millisecond
		v.SetInt(int64(time.Duration(1+r.IntN(1e6)) * time.Millisecond))
		return
	case netip.Prefix:
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.Int()), byte(r.Int()), 1}), 1+r.IntN(32))
		if r.IntN(2) == 0 {
			p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(r.Int())}), 1+r.IntN(128))
		}
		v.Set(reflect.ValueOf(p))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(r, v.Field(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i), depth)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+r.IntN(3), 8))
		for i := range v.Len() {
			fill(r, v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, key := range []string{"a", fmt.Sprint(r.Int())} {
			value := reflect.New(v.Type().Elem()).Elem()
			fill(r, value, depth+1)
			v.SetMapIndex(reflect.ValueOf(key), value)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("«%d»", r.Int()))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(r.NormFloat64() + 10)
	case reflect.Int:
		v.SetInt(1 + r.Int64N(1<<30))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(1 + r.Uint64N(200))
	default:
		panic(fmt.Sprintf("fill does not know %v", v.Type()))
	}
}

func random[T any](r *rand.Rand) T {
	var v T
	fill(r, reflect.ValueOf(&v).Elem(), 0)
	return v
}

// mirror is a plugin that keeps what it gets and gives what it is told to.
type mirror struct {
	event      sdk.Event
	events     []sdk.Event
	desired    []sdk.Mitigation
	snapshot   sdk.Snapshot
	evidence   sdk.Evidence
	findings   []sdk.Finding
	table      sdk.Rows
	tableName  string
	status     sdk.MitigationStatus
	preview    sdk.Mitigation
	announced  []sdk.Announcement
	sample     sdk.Sample
	sampleWant sdk.SampleRequest
}

func (m *mirror) Notify(_ context.Context, e sdk.Event) error { m.event = e; return nil }
func (m *mirror) Events(_ context.Context, e []sdk.Event) error {
	m.events = append(m.events, e...)
	return nil
}
func (m *mirror) Sync(_ context.Context, d []sdk.Mitigation) error { m.desired = d; return nil }
func (m *mirror) Export(_ context.Context, s sdk.Snapshot) error   { m.snapshot = s; return nil }
func (m *mirror) Run(ctx context.Context, _ *sdk.Writer) error     { <-ctx.Done(); return nil }
func (m *mirror) Watch(ctx context.Context, report func(sdk.MitigationStatus)) error {
	report(m.status)
	<-ctx.Done()
	return nil
}

func (m *mirror) Preview(_ context.Context, want sdk.Mitigation) ([]sdk.Announcement, error) {
	m.preview = want
	return m.announced, nil
}

func (m *mirror) Protected() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}
}

func (m *mirror) Override(profile string, attributes map[string][]string) error {
	if profile != "blackhole" || !reflect.DeepEqual(attributes, map[string][]string{"next_hop": {"192.0.2.66"}}) {
		return fmt.Errorf("%s: %v", profile, attributes)
	}
	return nil
}

func (m *mirror) Inspect(_ context.Context, e sdk.Evidence) ([]sdk.Finding, error) {
	m.evidence = e
	return m.findings, nil
}

func (m *mirror) Table(_ context.Context, name string) (sdk.Rows, error) {
	m.tableName = name
	return m.table, nil
}

func (m *mirror) Sample(_ context.Context, req sdk.SampleRequest, give func(sdk.Sample) error) error {
	m.sampleWant = req
	return give(m.sample)
}

func (m *mirror) build(struct{}, sdk.Env) (*mirror, error) { return m, nil }

func (m *mirror) serve(t *testing.T, kind string) *sdktest.Harness {
	p := sdk.Plugin{Name: "mirror", Version: "1"}
	switch kind {
	case "action":
		p.Notifier = sdk.NewNotifier(struct{}{}, m.build)
	case "export":
		p.Exporter = sdk.NewExporter(struct{}{}, m.build)
	case "capture":
		p.Capture = sdk.NewCapture(struct{}{}, m.build)
	}
	return sdktest.New(t, p, "")
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if reflect.DeepEqual(got, want) { // far cheaper than a diff
		return
	}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Fatalf("%s changes on its way (-sent +received):\n%s", what, d)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryFieldTravels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	m := &mirror{}
	action, export, capture := m.serve(t, "action"), m.serve(t, "export"), m.serve(t, "capture")
	for range 200 {
		event, events := random[sdk.Event](r), random[[]sdk.Event](r)
		ok(t, action.Notify(event))
		same(t, "Event", m.event, event)

		m.events = nil
		ok(t, export.Events(events))
		same(t, "Events", m.events, events)

		desired := random[[]sdk.Mitigation](r)
		ok(t, action.Sync(desired))
		same(t, "Mitigation", m.desired, desired)

		mitigation := random[sdk.Mitigation](r)
		m.announced = random[[]sdk.Announcement](r)
		for i := range m.announced {
			m.announced[i].Matches &= 0xff
			if !m.announced[i].Prefix.IsValid() {
				m.announced[i].Prefix = netip.MustParsePrefix("::/0")
			}
			m.announced[i].Prefix = m.announced[i].Prefix.Masked()
		}
		announced, err := action.Preview(mitigation)
		ok(t, err)
		same(t, "previewed Mitigation", m.preview, mitigation)
		same(t, "Announcement", announced, m.announced)

		snapshot := random[sdk.Snapshot](r)
		ok(t, export.Export(snapshot))
		same(t, "Snapshot", m.snapshot, snapshot)

		evidence := random[sdk.Evidence](r)
		m.findings = random[[]sdk.Finding](r)
		findings, err := action.Inspect(evidence)
		ok(t, err)
		same(t, "Evidence", m.evidence, evidence)
		same(t, "Finding", findings, m.findings)

		m.table = random[sdk.Rows](r)
		table, err := action.Table("routers")
		ok(t, err)
		same(t, "Table", table, m.table)
		same(t, "name of the table", m.tableName, "routers")

		m.sample = random[sdk.Sample](r) // "before" like all that a Sampler has
		want := random[sdk.SampleRequest](r)
		want.Limit, want.Direction, want.Since = 1, "outgoing", want.Since.UTC()
		samples, err := capture.Sample(want)
		ok(t, err)
		same(t, "SampleRequest", m.sampleWant, want)
		same(t, "Sample", samples, []sdk.Sample{m.sample})

		m.status = random[sdk.MitigationStatus](r)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		var status sdk.MitigationStatus
		ok(t, action.WatchMitigations(ctx, func(s sdk.MitigationStatus) { status = s; cancel() }))
		cancel()
		same(t, "MitigationStatus", status, m.status)
	}
}

func TestZeroValuesTravel(t *testing.T) {
	m := &mirror{}
	action, export := m.serve(t, "action"), m.serve(t, "export")
	ok(t, action.Notify(sdk.Event{}))
	same(t, "Event", m.event, sdk.Event{})
	ok(t, export.Export(sdk.Snapshot{}))
	same(t, "Snapshot", m.snapshot, sdk.Snapshot{})
}

func TestLargeSnapshotsTravelInParts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	m := &mirror{}
	h := m.serve(t, "export")
	want := random[sdk.Snapshot](r)
	host := random[sdk.HostRate](r)
	for len(want.Hosts) < 30_000 { // some megabytes, in parts of one
		want.Hosts = append(want.Hosts, host)
	}
	ok(t, h.Export(want))
	same(t, "Snapshot", m.snapshot, want)
	var events []sdk.Event
	for range 2000 {
		events = append(events, random[sdk.Event](r))
	}
	ok(t, h.Events(events))
	same(t, "Events", m.events, events)
}

// What a mitigator protects, and what it says of hostgroups' attributes, comes
// with its configuration.
func TestMitigatorsAreAskedWhenConfigured(t *testing.T) {
	h := (&mirror{}).serve(t, "action")
	result, diags := h.Override(
		host.Override{Profile: "blackhole", Attributes: map[string][]string{"next_hop": {"192.0.2.66"}}},
		host.Override{Profile: "other", Attributes: map[string][]string{"a": {"1", "2"}}},
	)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	same(t, "Protected", result.Protected, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")})
	same(t, "OverrideErrors", result.OverrideErrors, []string{"", "other: map[a:[1 2]]"})
}

// A set travels whole only once: what is as before is what the plugin was told
// before, and what has changed, or comes after a set that was not taken, is new.
func TestSetsTravelOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	m := &mirror{}
	action := m.serve(t, "action")
	desired := make([]sdk.Mitigation, 50)
	for i := range desired {
		desired[i] = random[sdk.Mitigation](r)
		desired[i].ID = fmt.Sprint("m", i)
		desired[i].Event.Evidence = &sdk.EvidenceReport{Basis: "packets"}
	}
	var before map[string]*sdk.EvidenceReport
	tell := func(what string, kept int) {
		t.Helper()
		ok(t, action.Sync(desired))
		same(t, what, m.desired, desired)
		now, n := map[string]*sdk.EvidenceReport{}, 0
		for i := range m.desired {
			d := &m.desired[i]
			if now[d.ID] = d.Event.Evidence; before[d.ID] == d.Event.Evidence {
				n++
			}
		}
		if before = now; n != kept {
			t.Errorf("%s: %d mitigations were not sent again, want %d", what, n, kept)
		}
	}
	tell("the first set", 0)
	tell("the same set", 50)
	desired[3].Event.Label += "changed"
	desired[4].Event.Evidence = &sdk.EvidenceReport{Basis: "flows"}
	desired = append(desired, random[sdk.Mitigation](r))
	tell("two changed and one more", 48)
	desired = desired[10:]
	tell("ten gone", 41)
	rest := desired
	desired = nil
	tell("none", 0)
	desired = rest
	tell("all of them again", 0)
}
