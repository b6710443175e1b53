package feed

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The end of an input, and a stop, are told once the stream has carried
// everything away, however slowly.
func TestStreamIsSentBeforeTheEnd(t *testing.T) {
	for _, stop := range []bool{false, true} {
		t.Run(fmt.Sprintf("stop=%v", stop), func(t *testing.T) {
			written := make(chan struct{})
			rt := New(func(ctx context.Context, w *Writer) error {
				write(w, 5000, func(i int) traffic.Record { return packet(i, 0) })
				close(written)
				if stop {
					<-ctx.Done()
				}
				return nil
			}, Options{})
			start(t, rt, plan(1, 1))
			var n atomic.Uint64
			slow, streamed := make(chan struct{}), make(chan error, 1)
			go func() {
				streamed <- rt.Stream(t.Context(), 0, 3, func(b []byte) error {
					<-slow
					deltas, err := ring.DecodeDeltas(b, nil)
					for _, d := range deltas {
						if d.Kind == ring.KindHost || d.Kind == ring.KindPrefix {
							n.Add(d.Packets)
						}
					}
					return err
				})
			}()
			<-written
			ended := make(chan error, 1)
			if stop {
				go func() { ended <- rt.Stop(t.Context()) }()
			} else {
				go func() { <-rt.Done(); ended <- nil }()
			}
			select {
			case err := <-ended:
				t.Fatal("it has ended with its stream unsent:", err)
			case <-time.After(300 * time.Millisecond):
			}
			close(slow)
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if n.Load() != 5000 {
				t.Errorf("%d packets of 5000 were sent before the end", n.Load())
			}
			if err := <-streamed; err != nil {
				t.Error(err)
			}
		})
	}
}

// A stream that is asked for after the end ends, too.
func TestStreamAfterTheEnd(t *testing.T) {
	rt := New(func(context.Context, *Writer) error { return nil }, Options{})
	start(t, rt, plan(1, 1))
	if err := rt.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := rt.Stream(t.Context(), 0, 3, func([]byte) error { return nil }); err != nil {
		t.Error(err)
	}
}
