package main

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

// processor is the processor time that this process has had so far.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRecords brings records to a broker in a process of its own, which
// keeps none of them: as the tap does, and as a plain client would that is given
// the messages ready made.
func BenchmarkRecords(b *testing.B) {
	_, broker := newBroker(b, "-forget")
	list := someRecords(1024)
	report := func(b *testing.B, cpu time.Duration, delivered uint64) {
		b.Helper()
		if delivered != uint64(b.N) {
			b.Fatalf("%d of %d are delivered", delivered, b.N)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		b.ReportMetric(float64(processor(b)-cpu)/float64(b.N), "cpu-ns/record")
	}
	for _, x := range []struct{ format, layout string }{
		{formatProtobuf, delivery.LayoutNative}, {formatProtobuf, delivery.LayoutFastNetMon}, {formatJSON, delivery.LayoutNative}, {formatJSON, delivery.LayoutFastNetMon},
	} {
		b.Run("tap/"+x.format+"/"+x.layout, func(b *testing.B) {
			s := newStream(streaming(broker, x.format, x.layout))
			if err := s.start(); err != nil {
				b.Fatal(err)
			}
			tap := s.tap(teller)
			b.ReportAllocs()
			b.ResetTimer()
			cpu := processor(b)
			for left := b.N; left > 0; left -= min(left, len(list)) {
				if err := tap.Tap(b.Context(), list[:min(left, len(list))]); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.client.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			report(b, cpu, s.delivered.Load())
			if err := s.close(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
	b.Run("plain", func(b *testing.B) {
		c := streaming(broker, formatProtobuf, delivery.LayoutNative)
		client, err := newClient(&c, kgo.DefaultProduceTopic(c.Records.Topic), kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(4))
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		var values [][]byte
		encode := newEncoder(formatProtobuf, delivery.LayoutNative)
		for i := range list {
			values = append(values, encode(nil, &list[i], time.Unix(0, list[i].Time), teller(list[i].Exporter)))
		}
		var delivered atomic.Uint64
		b.ReportAllocs()
		b.ResetTimer()
		cpu := processor(b)
		for i := range b.N {
			client.Produce(b.Context(), kgo.SliceRecord(values[i%len(values)]), func(_ *kgo.Record, err error) {
				if err == nil {
					delivered.Add(1)
				}
			})
		}
		if err := client.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
		report(b, cpu, delivered.Load())
	})
}

// BenchmarkEncode makes messages and sends them nowhere.
func BenchmarkEncode(b *testing.B) {
	list := someRecords(1024)
	for _, x := range []struct{ format, layout string }{
		{formatProtobuf, delivery.LayoutNative}, {formatProtobuf, delivery.LayoutFastNetMon}, {formatJSON, delivery.LayoutNative}, {formatJSON, delivery.LayoutFastNetMon},
	} {
		b.Run(fmt.Sprint(x.format, "/", x.layout), func(b *testing.B) {
			encode, buf, size := newEncoder(x.format, x.layout), make([]byte, 0, 4096), 0
			b.ReportAllocs()
			for i := range b.N {
				r := &list[i%len(list)]
				buf = encode(buf[:0], r, time.Unix(0, r.Time), teller(r.Exporter))
				size += len(buf)
			}
			b.ReportMetric(float64(size)/float64(b.N), "octets/record")
		})
	}
}
