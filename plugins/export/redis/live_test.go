package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/stores"
)

// newBed starts a Redis that a test reads back through redis-cli.
func newBed(t *testing.T, args, cli []string) *stores.Redis {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Redis")
	}
	return stores.NewRedis(t, args, cli)
}

// stream is the keys of the stream's events.
func stream(b *stores.Redis) (out []string, err error) {
	messages, err := b.Stream("fastnetmon:events")
	for _, m := range messages {
		var e struct {
			Mitigation *struct {
				ID, State string
				Time      time.Time
			}
		}
		if err := json.Unmarshal([]byte(m["json"]), &e); err != nil {
			return nil, err
		}
		name := m["id"] + "-" + m["seq"]
		if m := e.Mitigation; m != nil {
			name = m.ID + "-" + m.State + "-" + strconv.FormatInt(m.Time.UnixNano(), 10)
		}
		out = append(out, name)
	}
	return out, err
}

// What is written is what redis-cli reads, over a unix socket with a password;
// what happened while Redis was dead is there afterwards, once and in order.
func TestLive(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	b := newBed(t, []string{"--port", "0", "--unixsocket", socket, "--requirepass", "secret"}, []string{"-s", socket, "-a", "secret"})
	h := sdktest.New(t, plugin(), fmt.Sprintf("socket = %q\npassword = \"secret\"\ndelivery {\n  backoff = \"20ms\"\n  max_backoff = \"100ms\"\n}", socket))
	h.StateDir = t.TempDir()
	s := sdktest.Snapshot(time.Now(), 500)
	if err := h.Export(s); err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{}
	add := func(key string, counters []sdk.CounterRate, flows float64, more ...string) {
		f := map[string]string{}
		list := rateFields(&s, counters, flows)
		for i := 0; i < len(list); i += 2 {
			f[list[i].(string)] = list[i+1].(string)
		}
		for i := 0; i < len(more); i += 2 {
			f[more[i]] = more[i+1]
		}
		want["fastnetmon:"+key] = f
	}
	for _, x := range s.Totals {
		add("total:ipv"+strconv.Itoa(x.Family)+":"+x.Direction, x.Counters, x.Flows)
	}
	for _, x := range s.Networks {
		add("network:"+x.Name+":"+x.Direction, x.Counters, x.Flows)
	}
	for _, x := range s.Hosts[:20] {
		add("host:"+sdk.TargetText(x.Host)+":"+x.Direction, x.Counters, x.Flows, "hostgroup", x.Group, "network", x.Network)
	}
	sdktest.Until(t, "every key is read back", func() error {
		for key, fields := range want {
			got, err := b.Hash(key)
			if err != nil {
				return err
			}
			if !maps.Equal(got, fields) {
				return fmt.Errorf("%s is %v, want %v", key, got, fields)
			}
		}
		return nil
	})
	if n, err := b.Ask("ZCARD", "fastnetmon:top:incoming"); err != nil || strings.TrimSpace(n) != "500" {
		t.Errorf("%s, %v", n, err)
	}
	for key, id := range map[string]string{"attacks": s.Attacks[0].ID, "mitigations": s.Mitigations[0].ID} {
		if got, err := b.Ask("SMEMBERS", "fastnetmon:"+key); err != nil || strings.TrimSpace(got) != id {
			t.Errorf("%s are %s, %v", key, got, err)
		}
	}
	if f, err := b.Hash("fastnetmon:input:pcap.file"); err != nil || f["received"] != "1000" || f["dropped_truncated"] != "7" {
		t.Errorf("%v, %v", f, err)
	}
	if ttl, err := b.Ask("TTL", "fastnetmon:total:ipv4:incoming"); err != nil || strings.TrimSpace(ttl) == "-1" {
		t.Errorf("rates are kept for ever: %s, %v", ttl, err)
	}

	var ids []string
	send := func(from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			events := append(sdktest.Attack(s.Time, n), sdktest.Mitigated(s.Time, n)...)
			if err := h.Events(events); err != nil {
				t.Fatal(err)
			}
			for i := range events {
				ids = append(ids, events[i].Key())
			}
		}
	}
	check := func() {
		t.Helper()
		sdktest.Until(t, "every event is there once and in order", func() error {
			got, err := stream(b)
			if err == nil && !slices.Equal(got, ids) {
				err = fmt.Errorf("%d events, want %d", len(got), len(ids))
			}
			return err
		})
	}
	send(0, 20)
	check()
	b.Kill()
	send(20, 60)
	if err := h.Drain(); err != nil { // and the plugin begins anew
		t.Fatal(err)
	}
	send(60, 61)
	b.Start()
	check()
	stores.Paused(t, b.Server, func() {
		send(61, 70)
		if n := h.Figure("waiting:of=events"); n < 9*6 {
			t.Errorf("a stopped server has answered: %v events wait", n)
		}
	})
	send(70, 75)
	check()
	for key, last := range map[string]sdk.Event{
		"attack:" + fmt.Sprintf("%016x", 41): sdktest.Attack(s.Time, 40)[2], "mitigation:m-" + fmt.Sprintf("%016x", 41): sdktest.Mitigated(s.Time, 40)[2],
	} {
		text, err := b.Ask("GET", "fastnetmon:"+key)
		if want, _ := json.Marshal(last); err != nil || strings.TrimSpace(text) != string(want) {
			t.Errorf("%s: %s, %v\nwant\n%s", key, text, err, want)
		}
	}
}

// The original's keys, over TLS.
func TestLiveCommunity(t *testing.T) {
	dir, port := t.TempDir(), strconv.Itoa(sdktest.FreePort(t))
	cert, key := sdktest.Certificate(t, dir)
	b := newBed(t, []string{"--port", "0", "--tls-port", port, "--bind", "127.0.0.1", "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no"},
		[]string{"-h", "127.0.0.1", "-p", port, "--tls", "--cacert", cert})
	h := sdktest.New(t, plugin(), fmt.Sprintf("address = \"127.0.0.1:%s\"\nlayout = %q\nprefix = \"fnm\"\ntls {\n  ca_file = %q\n}", port, delivery.LayoutFastNetMon, cert))
	if err := h.Events(append(sdktest.Attack(time.Now(), 5), sdktest.Mitigated(time.Now(), 5)...)); err != nil {
		t.Fatal(err)
	}
	sdktest.Until(t, "the document is there", func() error {
		text, err := b.Ask("GET", "fnm_10.1.0.5_information")
		var d struct {
			IP, Action string
			Details    map[string]any `json:"attack_details"`
		}
		if err == nil {
			err = json.Unmarshal([]byte(text), &d)
		}
		if err == nil && (d.IP != "10.1.0.5" || d.Action != "ban" || d.Details["incoming_udp_pps"] != 30000.0) {
			err = errors.New(text)
		}
		return err
	})
	if keys, err := b.Ask("KEYS", "*"); err != nil || strings.TrimSpace(keys) != "fnm_10.1.0.5_information" {
		t.Errorf("%s, %v", keys, err)
	}
}
