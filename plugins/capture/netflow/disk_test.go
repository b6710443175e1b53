package main

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// sealed is the body of a file with its sum.
func sealed(body []byte) []byte {
	body = slices.Clip(body)
	return binary.BigEndian.AppendUint32(body, crc32.ChecksumIEEE(body))
}

// filledStore is a store with some templates and rates.
func filledStore() *store {
	st := newStore()
	exporters, err := exporter.NewSet(exporter.Options{})
	if err != nil {
		panic(err)
	}
	r := &rig{set: exporters, now: 1e9}
	o := &output{}
	o.hand = func(int) []traffic.Record { return make([]traffic.Record, 1) }
	o.next()
	r.decoder = newDecoder(o, st, exporters.View(), newHold(&r.held))
	for i, from := range []netip.AddrPort{device, another, netip.MustParseAddrPort("[fe80::1%eth0]:9")} {
		for _, ipfix := range []bool{false, true} {
			options := ids(144, 4, 10, 4, 34, 4)
			r.give(from,
				message(ipfix, 0, 1, templateSet(ipfix, 256, standard(false, ipfix)), templateSet(ipfix, 257, standard(true, ipfix))),
				message(ipfix, 1, uint32(i), templateSet(ipfix, 300, ids(8, 4, 12, 4, 1, 4)), optionsSet(ipfix, 301, 1, options)),
				message(ipfix, 2, uint32(i), set(301, []byte{0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 0})))
		}
	}
	return st
}

// saved is what a store is to be after a restart.
type saved struct {
	Boot  int64
	Table map[uint16]string
	Rates map[rateKey]uint32
}

func (st *store) content() map[exporter.ID]saved {
	out := map[exporter.ID]saved{}
	for id, d := range st.domains {
		s := saved{Boot: d.boot.Load(), Table: map[uint16]string{}, Rates: maps.Clone(d.rates)}
		d.table.Load().each(func(id uint16, t *template) { s.Table[id] = t.definition })
		out[id] = s
	}
	return out
}

func compareContent(t *testing.T, want, got *store) {
	t.Helper()
	ids := cmp.Comparer(func(a, b exporter.ID) bool { return a == b })
	if d := cmp.Diff(want.content(), got.content(), ids, cmp.AllowUnexported(rateKey{})); d != "" {
		t.Errorf("written (-) and read (+):\n%s", d)
	}
	got.verify(t)
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "templates")
	if err := newStore().load(path); err != nil {
		t.Errorf("a file that is not there: %v", err)
	}
	st := filledStore()
	for range 2 {
		if err := st.save(path, 5e9, 1e9); err != nil {
			t.Fatal(err)
		}
	}
	if st.changed() {
		t.Error("there is still something to save")
	}
	got := newStore()
	if err := got.load(path); err != nil {
		t.Fatal(err)
	}
	compareContent(t, st, got)
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
	if err := st.save(filepath.Join(t.TempDir(), "no", "directory"), 1, 1); err == nil || !st.changed() {
		t.Errorf("saving where no directory is: %v", err)
	}
}

// Domains of long ago are left out; those of the last run that were not heard
// of since are kept.
func TestFileAges(t *testing.T) {
	st := filledStore()
	n := len(st.domains)
	second := newStore()
	if err := second.decode(st.encode(2e9, 1e9)); err != nil || len(second.domains) != n {
		t.Fatalf("%d domains of %d, %v", len(second.domains), n, err)
	}
	third := newStore()
	if err := third.decode(second.encode(1e9, 1e9+86400)); err != nil || len(third.domains) != n {
		t.Fatalf("%d domains of %d a day later, %v", len(third.domains), n, err)
	}
	fourth := newStore()
	if err := fourth.decode(third.encode(1e9, 1e9+31*86400)); err != nil || len(fourth.domains) != 0 {
		t.Errorf("%d domains a month later, %v", len(fourth.domains), err)
	}
}

// A damaged file is told and leaves nothing behind.
func TestDamagedFile(t *testing.T) {
	good := filledStore().encode(1, 1)
	for i := range good {
		for _, data := range [][]byte{good[:i], append(append(slices.Clone(good[:i]), good[i]^0x10), good[i+1:]...)} {
			st := newStore()
			if err := st.decode(data); err == nil {
				t.Fatalf("damage at %d of %d is not seen", i, len(good))
			}
			if len(st.domains) > 0 {
				t.Fatalf("damage at %d: something is kept", i)
			}
		}
	}
	for i := len(fileMagic) + 1; i < len(good)-4; i++ { // whoever writes it can also make the sum right
		st := newStore()
		_ = st.decode(sealed(good[:i]))
		st.verify(t)
		b := slices.Clone(good[:len(good)-4])
		b[i] ^= 0xff
		_ = st.decode(sealed(b))
		st.verify(t)
	}
}

// A file that has a domain twice is none that we have written.
func TestFileDomainTwice(t *testing.T) {
	d := &domain{id: exporter.ID{Version: 9, Source: device}}
	d.table.Store(emptyTable)
	for n, want := range map[uint32]error{1: nil, 2: errDamaged} {
		body := append([]byte(fileMagic), fileVersion)
		body = binary.BigEndian.AppendUint32(body, 0) // definitions
		body = binary.BigEndian.AppendUint32(body, n)
		for range n {
			body = d.encode(body, 1, nil)
		}
		st := newStore()
		if err := st.decode(sealed(body)); !errors.Is(err, want) || want == nil && len(st.domains) != 1 {
			t.Errorf("%d times: %v, %d domains", n, err, len(st.domains))
		}
	}
}
