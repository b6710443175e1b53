package udp

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// canSpoof reports whether raw sockets are permitted here.
func canSpoof(t *testing.T) bool {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

func TestKeepsTheSource(t *testing.T) {
	c, to := sink(t, "127.0.0.1:0")
	six, toSix := sink(t, "[::1]:0")
	blocks := []Forward{{Name: "a", Target: to, KeepSource: true}, {Name: "b", Target: toSix, KeepSource: true}}
	if !canSpoof(t) {
		f, err := NewForwarder(blocks, nil, nil)
		if f.Close(); !errors.Is(err, os.ErrPermission) {
			t.Fatalf("without the capability: %v", err)
		}
		return
	}
	f := forwarder(t, blocks...)
	loopback := netip.MustParseAddrPort("[::1]:50002")
	for _, size := range []int{0, 1, 1464, 8001} {
		data := bytes.Repeat([]byte("d"), size)
		f.Forward([]Datagram{{Data: data, From: exporterAt}, {Data: data, From: loopback}})
		if got, from := next(t, c); !bytes.Equal(got, data) || from != exporterAt {
			t.Errorf("%d octets: got %d from %v", size, len(got), from)
		}
		if got, from := next(t, six); !bytes.Equal(got, data) || from != loopback {
			t.Errorf("%d octets: got %d from %v", size, len(got), from)
		}
	}
	f.Close()
	for _, s := range f.Stats() {
		if s.Sent != 4 || s.Failed != 4 { // the other family's
			t.Errorf("%+v", s)
		}
	}
}
