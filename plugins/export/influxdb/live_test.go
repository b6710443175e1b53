package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/stores"
)

// name is what a point is told from others by.
func (r *row) name() string {
	out := fmt.Sprintf("%s@%d", r.measurement, r.at)
	tags := slices.SortedFunc(slices.Values(r.tags), func(a, b tag) int { return strings.Compare(a.key, b.key) })
	for _, t := range tags {
		if t.value != "" {
			out += "," + t.key + "=" + t.value
		}
	}
	return out
}

// influxPoints are all points of a database, by name, each field as text.
func influxPoints(t testing.TB, db *stores.InfluxDB, rows []row) (map[string]map[string]string, error) {
	tags := map[string]map[string]bool{}
	for i := range rows {
		m := tags[rows[i].measurement]
		if m == nil {
			m = map[string]bool{}
			tags[rows[i].measurement] = m
		}
		for _, x := range rows[i].tags {
			m[x.key] = true
		}
	}
	out := map[string]map[string]string{}
	for _, m := range slices.Sorted(maps.Keys(tags)) {
		series, err := db.Query(t.Context(), "fastnetmon", `SELECT * FROM "`+m+`"`)
		if err != nil {
			return nil, err
		}
		for _, s := range series {
			for _, v := range s.Values {
				r := row{measurement: m}
				fields := map[string]string{}
				for i, column := range s.Columns {
					switch text := fmt.Sprint(v[i]); {
					case column == "time":
						if _, err := fmt.Sscan(text, &r.at); err != nil {
							return nil, err
						}
					case v[i] == nil:
					case tags[m][column]:
						r.tags = append(r.tags, tag{column, text})
					default:
						fields[column] = text
					}
				}
				out[r.name()] = fields
			}
		}
	}
	return out, nil
}

// wanted are the points of rows as influxPoints gives them.
func wanted(rows []row) map[string]map[string]string {
	out := map[string]map[string]string{}
	for i := range rows {
		fields := map[string]string{}
		for _, f := range rows[i].fields {
			fields[f.key] = strings.TrimSuffix(fmt.Sprint(f.value), "\n")
			if v, ok := f.value.(float64); ok {
				b, _ := json.Marshal(v)
				fields[f.key] = string(b)
			}
		}
		out[rows[i].name()] = fields
	}
	return out
}

func same(got, want map[string]map[string]string) error {
	for name, fields := range want {
		if g, ok := got[name]; !ok || !maps.Equal(g, fields) {
			return fmt.Errorf("%s is %v, want %v", name, g, fields)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d points, want %d", len(got), len(want))
	}
	return nil
}

// What is written is what InfluxDB 1 answers, in both layouts; what happened while
// it was dead is there afterwards, once.
func TestLiveInfluxDB(t *testing.T) {
	if testing.Short() {
		t.Skip("starts InfluxDB")
	}
	for _, layout := range []string{delivery.LayoutFastNetMon, delivery.LayoutNative} {
		t.Run(layout, func(t *testing.T) {
			server := stores.NewInfluxDB(t)
			h := sdktest.New(t, plugin(), fmt.Sprintf("url = %q\nuser = \"admin\"\npassword = \"secret\"\nlayout = %q\ndelivery {\n  backoff = \"50ms\"\n  max_backoff = \"200ms\"\n}", server.URL, layout))
			h.StateDir = t.TempDir()
			at := time.Now().Add(-time.Minute)
			var rows []row
			export := func(at time.Time, hosts int) {
				t.Helper()
				s := sdktest.Snapshot(at, hosts)
				if err := h.Export(s); err != nil {
					t.Fatal(err)
				}
				if layout == delivery.LayoutFastNetMon {
					rows = append(rows, communityRows(&s)...)
				} else {
					rows = append(rows, nativeRows(&s)...)
				}
			}
			check := func() {
				t.Helper()
				sdktest.Until(t, "every point is read back", func() error {
					got, err := influxPoints(t, server, rows)
					if err != nil {
						return err
					}
					return same(got, wanted(rows))
				})
			}
			if layout == delivery.LayoutNative {
				export(at, 2600) // more than one request holds
			} else {
				export(at, 20)
			}
			check()
			if layout == delivery.LayoutNative {
				dashboard(t, server)
			}
			server.Kill()
			export(at.Add(time.Second), 10)
			send := func(from, to int) {
				t.Helper()
				var events []sdk.Event
				for n := from; n < to; n++ {
					events = append(append(events, sdktest.Attack(at.Add(2*time.Second), n)...), sdktest.Mitigated(at.Add(2*time.Second), n)...)
				}
				if err := h.Events(events); err != nil {
					t.Fatal(err)
				}
				if layout == delivery.LayoutNative {
					for i := range events {
						rows = append(rows, eventRow(&events[i]))
					}
				}
			}
			send(0, 50)
			server.Start()
			check()
			if layout == delivery.LayoutFastNetMon {
				return // it has no events
			}
			stores.Paused(t, server.Server, func() {
				send(50, 60)
				if n := h.Figure("waiting:of=events"); n < 10*6 {
					t.Errorf("a stopped server has answered: %v events wait", n)
				}
			})
			send(60, 65)
			check()
		})
	}
}

// Version 2 is written to VictoriaMetrics, which takes its API: it has no
// organizations, tokens and texts.
func TestLiveVersion2(t *testing.T) {
	if testing.Short() {
		t.Skip("starts VictoriaMetrics")
	}
	_, base := stores.NewVictoriaMetrics(t)
	h := sdktest.New(t, plugin(), fmt.Sprintf("url = %q\nversion = 2\norg = \"o\"\nbucket = \"b\"\ntoken = \"t\"", base))
	s := sdktest.Snapshot(time.Now().Add(-time.Minute).Truncate(time.Millisecond), 10)
	if err := h.Export(s); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{}
	for _, r := range nativeRows(&s) {
		for _, f := range r.fields {
			name := row{measurement: r.measurement + "_" + f.key, tags: r.tags, at: r.at}
			switch v := f.value.(type) {
			case float64:
				want[name.name()] = v
			case int64:
				want[name.name()] = float64(v)
			}
		}
	}
	sdktest.Until(t, "every value is read back", func() error {
		if _, err := stores.Get(t.Context(), base+"/internal/force_flush", ""); err != nil {
			return err
		}
		text, err := stores.Get(t.Context(), base+"/api/v1/export?"+url.Values{"match[]": {`{db="b"}`, `{__name__=~".+"}`}}.Encode(), "")
		if err != nil {
			return err
		}
		n := 0
		for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
			var series struct {
				Metric     map[string]string
				Values     []float64
				Timestamps []int64
			}
			if err := json.Unmarshal(lines.Bytes(), &series); err != nil {
				return err
			}
			r := row{measurement: series.Metric["__name__"], at: series.Timestamps[0] * int64(time.Millisecond)}
			for k, v := range series.Metric {
				if k != "__name__" && k != "db" {
					r.tags = append(r.tags, tag{k, v})
				}
			}
			v, ok := want[r.name()]
			if !ok && strings.HasPrefix(r.measurement, "fastnetmon_attack_") {
				continue // texts count as 0 there
			}
			if !ok || v != series.Values[0] || len(series.Values) != 1 {
				return fmt.Errorf("%s is %v, want %v (%v)", r.name(), series.Values, v, ok)
			}
			n++
		}
		if n != len(want) {
			return fmt.Errorf("%d values, want %d", n, len(want))
		}
		return nil
	})
}
