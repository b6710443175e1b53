package sdk

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/fastnetmon-go/fastnetmon/sdk/internal/feed"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// recentTime bounds how long a capture may look for what it has still got.
const recentTime = time.Second

// Sample gives what the capture has of a target from the seconds before, if it
// is a Sampler, and then what it commits from now on. It may come before Start,
// so that a replay can be asked for packets from its first one on.
func (c captureServer) Sample(req *pb.SampleRequest, stream grpc.ServerStreamingServer[pb.SampleResponse]) error {
	inst, done, err := c.s.useConfigured("Sample")
	if err != nil {
		return err
	}
	defer done()
	want, err := sampleRequestOf(req)
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "Sample: %v", err)
	}
	watch, err := inst.rings.(*captureRings).runtime.Watch(feed.WatchRequest{
		Target: want.Target.Masked(), Incoming: want.Direction != "outgoing", Outgoing: want.Direction != "incoming",
		Limit: min(want.Limit, feed.MaxSamples), For: want.For, Since: nanos(want.Since),
	})
	if err != nil {
		return status.Errorf(codes.ResourceExhausted, "Sample: %v", err)
	}
	defer watch.Close()
	if err := stream.SendHeader(metadata.Pairs("watching", "yes")); err != nil {
		return err
	}
	ctx, cancel := inst.untilDrain(stream.Context())
	defer cancel()
	out := &sampleStream{stream: stream, left: feed.FlowsPerSample * want.Limit}
	if v, ok := inst.value.(Sampler); ok && inst.env.Mode == ModeRun && inst.running() {
		recent, cancel := context.WithTimeout(ctx, recentTime)
		err := v.Sample(recent, want, func(s Sample) error { s.Before = true; return out.give(&s) })
		late := recent.Err() != nil
		cancel()
		if err != nil && !late && out.err == nil {
			return status.Error(codes.Unknown, err.Error())
		}
	}
	if out.err != nil || out.left == 0 {
		return out.err
	}
	names, _ := inst.value.(ExporterNames)
	return watch.Receive(ctx, func(s *feed.Sample) error {
		if out.left == 0 {
			return nil
		}
		sample := Sample{
			Time: instant(s.Record.Time), Link: s.Link, Data: s.Data, WireLen: s.WireLen,
			Record: traffic.Bytes([]traffic.Record{s.Record}),
		}
		if names != nil && s.Record.Exporter != 0 {
			sample.Exporter = names.ExporterName(s.Record.Exporter)
		}
		return out.give(&sample)
	})
}

// sampleStream sends samples, no more than were asked for.
type sampleStream struct {
	stream grpc.ServerStreamingServer[pb.SampleResponse]
	left   int
	err    error
}

func (o *sampleStream) give(s *Sample) error {
	if o.left == 0 || o.err != nil {
		return o.err
	}
	cost := feed.FlowsPerSample
	if r, ok := s.Packet(); ok && r.Marks&traffic.MarkFlow != 0 {
		cost = 1
	}
	o.left = max(0, o.left-cost)
	o.err = o.stream.Send(&pb.SampleResponse{Sample: &pb.Sample{
		TimeUnixNano: nanos(s.Time), Link: int32(s.Link), Data: s.Data[:min(len(s.Data), MaxFrame)], WireLen: uint32(s.WireLen),
		Record: s.Record, Exporter: s.Exporter, Before: s.Before,
	}})
	return o.err
}
