package capfile

import (
	"context"
	"errors"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/udp"
)

func TestCheckReplay(t *testing.T) {
	for _, c := range []struct {
		name   string
		files  []string
		replay bool
		want   string // summary of the first complaint
	}{
		{"no files", nil, false, ""},
		{"no files in a replay", nil, true, ""},
		{"files of a running capture", []string{"x.pcap"}, false, "Files are for a replay"},
		{"a file that is not there", []string{"there-is-none.pcap"}, true, "No such file"},
		{"an empty list", []string{}, true, "No files"},
	} {
		ds := CheckReplay(c.files, c.replay, "netflow")
		if got := len(ds) > 0; got != (c.want != "") || got && ds[0].Summary != c.want {
			t.Errorf("%s: %v, want %q", c.name, ds, c.want)
		}
	}
}

// A replay ends with its files, or when it is told to.
func TestPlayEnds(t *testing.T) {
	in := NewDatagrams(nil, nil, func(error) {})
	if err := in.Play(t.Context(), func(int, uint64) {}, func(udp.Datagram, int64) { t.Error("a datagram of no file") }); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := in.Play(ctx, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
