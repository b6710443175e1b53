package host_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/count"
	"github.com/fastnetmon-go/fastnetmon/sdk/host"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// liar is a plugin in another language, written by somebody who means no good.
type liar struct {
	describe  *pb.DescribeResponse
	configure *pb.ConfigureResponse
	watch     []*pb.WatchResponse
	judge     *pb.JudgeResponse
	stream    []byte
	notify    *pb.NotifyResponse
	hang      bool
	words     string // told without end
}

type liarBase struct {
	pb.UnimplementedPluginServer
	*liar
}

type liarCapture struct {
	pb.UnimplementedCaptureServer
	*liar
}

type liarFilter struct {
	pb.UnimplementedFilterServer
	*liar
}

type liarNotifier struct {
	pb.UnimplementedNotifierServer
	*liar
}

func (l liarBase) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	return l.describe, nil
}

func (l liarBase) Configure(context.Context, *pb.ConfigureRequest) (*pb.ConfigureResponse, error) {
	return l.configure, nil
}

func (l liarBase) Watch(_ *pb.WatchRequest, s grpc.ServerStreamingServer[pb.WatchResponse]) error {
	for _, m := range l.watch {
		if err := s.Send(m); err != nil {
			return err
		}
	}
	for l.words != "" {
		if err := s.Send(&pb.WatchResponse{State: pb.WatchResponse_STATE_RUNNING, Message: l.words}); err != nil {
			return err
		}
	}
	return nil
}

func (l liarCapture) Stream(_ *pb.StreamRequest, s grpc.ServerStreamingServer[pb.StreamResponse]) error {
	return s.Send(&pb.StreamResponse{Deltas: l.stream})
}

func (l liarFilter) Judge(context.Context, *pb.JudgeRequest) (*pb.JudgeResponse, error) {
	return l.judge, nil
}

func (l liarNotifier) Notify(context.Context, *pb.NotifyRequest) (*pb.NotifyResponse, error) {
	if l.hang {
		time.Sleep(2 * time.Second) // whatever the context says
	}
	return l.notify, nil
}

// honest is a description that passes.
func honest() *pb.DescribeResponse {
	return &pb.DescribeResponse{Name: "liar", Kind: "capture", Version: "1", Protocol: 1}
}

func (l *liar) connect(t *testing.T) (*host.Plugin, *grpc.Server) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxSendMsgSize(1 << 30))
	pb.RegisterPluginServer(server, liarBase{liar: l})
	pb.RegisterCaptureServer(server, liarCapture{liar: l})
	pb.RegisterFilterServer(server, liarFilter{liar: l})
	pb.RegisterNotifierServer(server, liarNotifier{liar: l})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return host.New(conn), server
}

func nestedBlock(depth int) *pb.Block {
	b := &pb.Block{}
	for range depth {
		b = &pb.Block{Blocks: []*pb.NestedBlock{{Name: "x", Block: b}}}
	}
	return b
}

func TestDescriptionsThatAreRefused(t *testing.T) {
	attr := func(name, typ string) *pb.Block {
		return &pb.Block{Attributes: []*pb.Attribute{{Name: name, Type: []byte(typ)}}}
	}
	for _, c := range []struct {
		change func(*pb.DescribeResponse)
		want   string
	}{
		{func(d *pb.DescribeResponse) { d.Kind = "virus" }, `kind "virus" is none of`},
		{func(d *pb.DescribeResponse) { d.Name = "a\x1b[31m" }, "is no HCL identifier"},
		{func(d *pb.DescribeResponse) { d.Version = "" }, "the version is missing"},
		{func(d *pb.DescribeResponse) { d.Schema = attr("process", `"string"`) }, "is reserved for the core"},
		{func(d *pb.DescribeResponse) { d.Schema = attr("x", `"dynamic"`) }, "needs a definite type"},
		{func(d *pb.DescribeResponse) { d.Schema = attr("x", `["list",`) }, `attribute "x"`},
		{func(d *pb.DescribeResponse) { d.Schema = attr("x", strings.Repeat(`["list",`, 1e5)) }, "is longer than"},
		{func(d *pb.DescribeResponse) { d.Schema = nestedBlock(1000) }, "blocks nest deeper than"},
		{func(d *pb.DescribeResponse) { d.Summary = strings.Repeat("x", host.MaxMessage+1) }, "a message is larger than"},
		{func(d *pb.DescribeResponse) { d.TargetBlock = "no" }, `has no block "no"`},
	} {
		l := &liar{describe: honest()}
		c.change(l.describe)
		p, _ := l.connect(t)
		if _, err := p.Describe(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestAnswersThatLie(t *testing.T) {
	l := &liar{
		describe: honest(),
		configure: &pb.ConfigureResponse{
			Workers: 1e9, Diagnostics: []*pb.Diagnostic{{Summary: "clear\x1b[2Jscreen", Detail: strings.Repeat("x", 1<<20)}},
		},
		watch:  []*pb.WatchResponse{{State: 77, Message: "\x00", Workers: make([]*pb.WorkerLedger, 5000)}},
		judge:  &pb.JudgeResponse{Records: make([]byte, 5)},
		stream: make([]byte, 130),
		notify: &pb.NotifyResponse{},
	}
	p, server := l.connect(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	_, diags, err := p.Configure(ctx, host.ConfigureRequest{Value: cty.EmptyObjectVal, Mode: "run"})
	if err == nil || !strings.Contains(err.Error(), "asks for 1000000000 workers") {
		t.Errorf("Configure: %v", err)
	}
	if len(diags) != 1 || strings.Contains(diags[0].Summary, "\x1b") || len(diags[0].Detail) > 1<<15 || !diags.HasErrors() {
		t.Errorf("diagnostics are not tamed: %q", diags[0].Summary)
	}
	if err := p.Watch(ctx, time.Second, func(h host.Health) {
		if h.State != host.Failed || len(h.Workers) > 1024 || h.Message != "\uFFFD" {
			t.Errorf("health is not tamed: %v %q, %d workers", h.State, h.Message, len(h.Workers))
		}
	}); err != nil {
		t.Errorf("Watch: %v", err)
	}
	if _, err := p.Judge(ctx, make([]traffic.Record, 2)); err == nil || !strings.Contains(err.Error(), "5 bytes for 2 records") {
		t.Errorf("Judge: %v", err)
	}
	if err := p.StreamDeltas(ctx, 0, 1, func([]byte) error { return nil }); err == nil || !strings.Contains(err.Error(), "no whole number of deltas") {
		t.Errorf("Stream: %v", err)
	}
	if err := p.Notify(ctx, sdk.Event{}); err == nil || !strings.Contains(err.Error(), "does not say why") {
		t.Errorf("Notify: %v", err)
	}
	if err := p.ApplyPlan(ctx, &count.Plan{}); err == nil || !strings.Contains(err.Error(), "does not offer this") {
		t.Errorf("ApplyPlan: %v", err)
	}

	server.Stop()
	if err := p.Notify(ctx, sdk.Event{}); !errors.Is(err, host.ErrGone) || !sdk.IsRetry(err) {
		t.Errorf("a call of a plugin that is gone: %v", err)
	}
}

func TestCallsAreBoundedByTheirContext(t *testing.T) {
	l := &liar{describe: honest(), notify: &pb.NotifyResponse{}, hang: true}
	p, _ := l.connect(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Notify(ctx, sdk.Event{}); !errors.Is(err, context.DeadlineExceeded) || sdk.IsRetry(err) {
		t.Errorf("got %v", err)
	}
}

func TestConfigurationsThatDoNotFit(t *testing.T) {
	d := honest()
	d.Schema = &pb.Block{Attributes: []*pb.Attribute{{Name: "n", Type: []byte(`"number"`)}}}
	l := &liar{describe: d, configure: &pb.ConfigureResponse{}}
	p, _ := l.connect(t)
	for _, v := range []cty.Value{
		cty.StringVal("x"),
		cty.ObjectVal(map[string]cty.Value{"n": cty.StringVal("x")}),
		cty.ObjectVal(map[string]cty.Value{"n": cty.UnknownVal(cty.Number)}),
		cty.EmptyObjectVal,
	} {
		if _, _, err := p.Configure(t.Context(), host.ConfigureRequest{Value: v}); err == nil {
			t.Errorf("%#v was sent", v)
		}
	}
	secret := cty.ObjectVal(map[string]cty.Value{"n": cty.NumberIntVal(1).Mark("secret")})
	if _, _, err := p.Configure(t.Context(), host.ConfigureRequest{Value: secret}); err != nil {
		t.Errorf("a marked value: %v", err)
	}
}

func TestReattachRefuses(t *testing.T) {
	for _, v := range []string{
		"{", `{"a":{"Protocol":"netrpc","ProtocolVersion":1}}`, `{"a":{"Protocol":"grpc","ProtocolVersion":9}}`,
		`{"a":{"Protocol":"grpc","ProtocolVersion":1,"Addr":{"Network":"carrier pigeon"}}}`,
	} {
		if _, err := host.Reattach(v); err == nil {
			t.Errorf("%s was accepted", v)
		}
	}
}

// Who tells of health without end is held up by the connection, and costs us no
// more than fifty words a second; one word has a size.
func TestEndlessWords(t *testing.T) {
	l := &liar{describe: honest(), words: strings.Repeat("y", 4<<10)}
	p, _ := l.connect(t)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	heard := 0
	if err := p.Watch(ctx, time.Second, func(host.Health) { heard++ }); err != nil {
		t.Errorf("Watch: %v", err)
	}
	if heard == 0 || heard > 26 {
		t.Errorf("heard %d words in half a second", heard)
	}
	l = &liar{describe: honest(), words: strings.Repeat("y", 2<<20)}
	p, _ = l.connect(t)
	if err := p.Watch(t.Context(), time.Second, func(host.Health) { t.Error("it was heard") }); err == nil ||
		!strings.Contains(err.Error(), "a word of health is larger than 1048576 bytes") {
		t.Errorf("Watch: %v", err)
	}
}
