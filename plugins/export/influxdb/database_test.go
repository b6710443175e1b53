package main

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// What a server answers decides what becomes of what was sent.
func TestAnswers(t *testing.T) {
	var status atomic.Int32
	var got atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := gzip.NewReader(r.Body)
		if err == nil {
			var text []byte
			text, err = io.ReadAll(body)
			got.Store(r.Method + " " + r.URL.String() + " " + r.Header.Get("Authorization") + "\n" + string(text))
		}
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write([]byte("because"))
	}))
	defer server.Close()
	c := defaults()
	c.URL, c.Version, c.Org, c.Bucket, c.Token = server.URL+"/", 2, "our org", "b", "secret"
	d := &database{cfg: c}
	if err := d.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	s := sdktest.Snapshot(time.Unix(1700000000, 0), 1)
	for code, want := range map[int]struct{ ok, refused bool }{
		200: {ok: true}, 204: {ok: true}, 301: {}, 400: {refused: true}, 401: {}, 403: {}, 404: {}, 413: {refused: true}, 422: {refused: true}, 429: {}, 500: {}, 503: {},
	} {
		status.Store(int32(code))
		err := d.Snapshot(t.Context(), &s)
		if (err == nil) != want.ok || delivery.IsRefused(err) != want.refused {
			t.Errorf("%d: %v", code, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "because") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%d: %v", code, err)
		}
	}
	if want := "POST /api/v2/write?bucket=b&org=our+org&precision=ns Token secret\nfastnetmon_total,"; !strings.HasPrefix(got.Load().(string), want) {
		t.Errorf("%.200s", got.Load())
	}
}
