package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/stores"
)

// bed is a ClickHouse that a test reads back through its HTTP interface.
type bed struct {
	*stores.ClickHouse
	t *testing.T
}

func newBed(t *testing.T) *bed {
	t.Helper()
	if testing.Short() {
		t.Skip("starts ClickHouse")
	}
	return &bed{stores.NewClickHouse(t), t}
}

// check wants each table to have exactly these rows.
func (b *bed) check(all []*rows) {
	b.t.Helper()
	sdktest.Until(b.t, "every row is read back", func() error {
		for _, r := range all {
			got, err := b.Ask("SELECT * FROM fastnetmon." + r.table.name)
			if err != nil {
				return err
			}
			var have, want []string
			for _, row := range got {
				text := ""
				for _, c := range r.table.columns {
					text += fmt.Sprint(row[c.name], "|")
				}
				have = append(have, text)
			}
			for _, values := range r.rows {
				text := ""
				for _, v := range values {
					switch x := v.(type) {
					case time.Time:
						v = x.UTC().Format(time.DateTime)
					case float64, uint64, uint32, uint8: // as JSON has them
						b, _ := json.Marshal(v)
						var f any
						if _, big := x.(uint64); big {
							f = string(b)
						} else if err := json.Unmarshal(b, &f); err != nil {
							return err
						}
						v = f
					}
					text += fmt.Sprint(v, "|")
				}
				want = append(want, text)
			}
			slices.Sort(have)
			slices.Sort(want)
			if !slices.Equal(have, want) {
				return fmt.Errorf("%s: %d rows, want %d:\n%.300s\n%.300s", r.table.name, len(have), len(want), strings.Join(have, "\n"), strings.Join(want, "\n"))
			}
		}
		return nil
	})
}

func (b *bed) config(layout string) string {
	return fmt.Sprintf("address = \"127.0.0.1:%d\"\npassword = \"secret\"\nlayout = %q\ndelivery {\n  backoff = \"50ms\"\n  max_backoff = \"200ms\"\n}", b.Native, layout)
}

// What is written is what the server answers; events that happened while it was
// dead are there afterwards, once, and old tables are given what they lack.
func TestLiveNative(t *testing.T) {
	b := newBed(t)
	d := &database{cfg: defaults()}
	d.cfg.Address, d.cfg.Password = fmt.Sprintf("127.0.0.1:%d", b.Native), "secret"
	if err := d.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.conn.Exec(t.Context(), "ALTER TABLE fastnetmon.host DROP COLUMN exempt_bps"); err != nil { // what an earlier version may have made
		t.Fatal(err)
	}
	_ = d.Close()
	h := sdktest.New(t, plugin(), b.config(delivery.LayoutNative))
	h.StateDir = t.TempDir()
	s := sdktest.Snapshot(time.Now(), 2000)
	if err := h.Export(s); err != nil {
		t.Fatal(err)
	}
	all := nativeRows(&s)
	b.check(all)

	var sent []sdk.Event
	send := func(n int) {
		t.Helper()
		list := append(sdktest.Attack(s.Time, n), sdktest.Mitigated(s.Time, n)...)
		if err := h.Events(list); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, list...)
	}
	check := func() {
		t.Helper()
		all, err := eventRows(sent)
		if err != nil {
			t.Fatal(err)
		}
		b.check(all)
	}
	send(0)
	check()
	b.dashboard()
	b.Kill()
	for n := range 30 {
		send(n + 1)
	}
	if err := h.Drain(); err != nil { // and the plugin begins anew
		t.Fatal(err)
	}
	send(31)
	b.Start()
	check()
	stores.Paused(t, b.Server, func() {
		send(32)
		if n := h.Figure("waiting:of=events"); n < 6 {
			t.Errorf("a stopped server has answered: %v events wait", n)
		}
	})
	send(33)
	check()
	// What is written again is not there twice.
	if err := d.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	list := append(sdktest.Attack(s.Time, 5), sdktest.Mitigated(s.Time, 5)...)
	if err := d.Events(t.Context(), delivery.Batch{Events: list, Again: true}); err != nil {
		t.Fatal(err)
	}
	check()
}

// The original's tables.
func TestLiveCommunity(t *testing.T) {
	b := newBed(t)
	h := sdktest.New(t, plugin(), b.config(delivery.LayoutFastNetMon))
	s := sdktest.Snapshot(time.Now(), 20)
	if err := h.Export(s); err != nil {
		t.Fatal(err)
	}
	if err := h.Events([]sdk.Event{sdktest.Event()}); err != nil {
		t.Fatal(err)
	}
	b.check(communityRows(&s))
}

// A server with TTL is asked to let rows go.
func TestDefinition(t *testing.T) {
	want := "CREATE TABLE IF NOT EXISTS fnm.system_metrics (metricDate Date DEFAULT toDate(metricDateTime), metricDateTime DateTime, name String, type String, value UInt64, " +
		"schema_version UInt8 DEFAULT 0 COMMENT '1') ENGINE = MergeTree PARTITION BY metricDate ORDER BY (name, metricDate) TTL metricDate + toIntervalDay(7) SETTINGS index_granularity=8192"
	if got := communitySystem.definition("fnm", 7, true); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for _, list := range [][]*table{nativeTables, communityTables} {
		for _, r := range list {
			if got := r.definition("fnm", 7, false); strings.Contains(got, "TTL") {
				t.Error(got)
			}
		}
	}
}
