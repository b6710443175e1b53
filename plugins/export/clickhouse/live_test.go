package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

const serverConfig = `<yandex>
 <logger><level>warning</level><console>1</console></logger>
 <listen_host>127.0.0.1</listen_host>
 <http_port>%[2]d</http_port><tcp_port>%[3]d</tcp_port><interserver_http_port>%[4]d</interserver_http_port>
 <path>%[1]s/data/</path><tmp_path>%[1]s/tmp/</tmp_path><format_schema_path>%[1]s/fmt/</format_schema_path>
 <users_config>%[1]s/users.xml</users_config>
 <default_profile>default</default_profile><default_database>default</default_database>
 <mark_cache_size>104857600</mark_cache_size><uncompressed_cache_size>0</uncompressed_cache_size>
 <max_concurrent_queries>20</max_concurrent_queries>
 <timezone>UTC</timezone>
</yandex>
`

const usersConfig = `<yandex><profiles><default><max_memory_usage>2000000000</max_memory_usage></default></profiles>
<users><default><password>secret</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default></users>
<quotas><default/></quotas></yandex>
`

// bed is a ClickHouse that a test reads back through its HTTP interface.
type bed struct {
	t      *testing.T
	server *sdktest.Server
	web    string
	native int
}

func newBed(t *testing.T) *bed {
	t.Helper()
	if testing.Short() {
		t.Skip("starts ClickHouse")
	}
	dir, web := t.TempDir(), sdktest.FreePort(t)
	b := &bed{t: t, native: sdktest.FreePort(t), web: fmt.Sprintf("http://127.0.0.1:%d/?password=secret", web)}
	for name, text := range map[string]string{"config.xml": fmt.Sprintf(serverConfig, dir, web, b.native, sdktest.FreePort(t)), "users.xml": usersConfig} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.server = sdktest.NewServer(t, func() error { _, err := b.ask("SELECT 1 AS one"); return err }, nil, "clickhouse-server", "--config-file="+filepath.Join(dir, "config.xml"))
	return b
}

// ask runs a query and returns its rows.
func (b *bed) ask(query string) (out []map[string]any, err error) {
	resp, err := http.Get(b.web + "&query=" + url.QueryEscape(query+" FORMAT JSONEachRow"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s, %w: %s", resp.Status, err, text)
	}
	for line := range strings.Lines(string(text)) {
		row := map[string]any{}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}

// check wants each table to have exactly these rows.
func (b *bed) check(all []*rows) {
	b.t.Helper()
	sdktest.Until(b.t, "every row is read back", func() error {
		for _, r := range all {
			got, err := b.ask("SELECT * FROM fastnetmon." + r.table.name)
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
	return fmt.Sprintf("address = \"127.0.0.1:%d\"\npassword = \"secret\"\nlayout = %q\ndelivery {\n  backoff = \"50ms\"\n  max_backoff = \"200ms\"\n}", b.native, layout)
}

// What is written is what the server answers; events that happened while it was
// dead are there afterwards, once, and old tables are given what they lack.
func TestLiveNative(t *testing.T) {
	b := newBed(t)
	d := &database{cfg: defaults()}
	d.cfg.Address, d.cfg.Password = fmt.Sprintf("127.0.0.1:%d", b.native), "secret"
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
	b.server.Kill()
	for n := range 30 {
		send(n + 1)
	}
	if err := h.Drain(); err != nil { // and the plugin begins anew
		t.Fatal(err)
	}
	send(31)
	b.server.Start()
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
