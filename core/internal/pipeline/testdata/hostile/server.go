package main

import (
	"context"
	"os"
	"strings"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

// server speaks the contract with messages of raw fields.
type server struct {
	goplugin.NetRPCUnsupportedPlugin
	kind, mode string
	rings      []*feed
	plan       plan
}

func (s *server) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func (s *server) GRPCServer(_ *goplugin.GRPCBroker, registrar *grpc.Server) error {
	unary := func(name string, answer func(request []byte) []byte) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			request := &emptypb.Empty{}
			if err := decode(request); err != nil {
				return nil, err
			}
			switch s.mode {
			case "hang_" + strings.ToLower(name):
				hang()
			case "late":
				time.Sleep(300 * time.Millisecond)
			case "huge_" + strings.ToLower(name):
				return message(text(nil, 1000, strings.Repeat("x", 20<<20))), nil
			case "panics_" + strings.ToLower(name):
				panic("no " + name + " today")
			}
			return message(answer(request.ProtoReflect().GetUnknown())), nil
		}}
	}
	nothing := func([]byte) []byte { return nil }
	registrar.RegisterService(&grpc.ServiceDesc{
		ServiceName: "fastnetmon.plugin.v1.Plugin",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{unary("Describe", s.describe), unary("Configure", s.configure), unary("Start", s.start), unary("Drain", nothing)},
		Streams:     []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: s.watch}},
	}, struct{}{})
	capture := &grpc.ServiceDesc{ServiceName: "fastnetmon.plugin.v1.Capture", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{unary("Attach", s.attach), unary("ApplyPlan", s.apply)}}
	switch s.kind {
	case "capture":
		registrar.RegisterService(capture, struct{}{})
	case "filter":
		registrar.RegisterService(&grpc.ServiceDesc{ServiceName: "fastnetmon.plugin.v1.Filter", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{unary("Attach", s.attach)}}, struct{}{})
	}
	return nil
}

func (s *server) describe([]byte) []byte {
	name, protocol := s.mode, uint64(1)
	switch s.mode {
	case "misnamed":
		name = "other"
	case "lies_protocol":
		protocol = 2
	}
	b := text(text(text(text(nil, 1, name), 2, s.kind), 3, "1"), 4, "0.1.0")
	return number(b, 5, protocol)
}

func (s *server) configure([]byte) []byte {
	switch s.mode {
	case "workers":
		return number(nil, 2, 1<<31)
	case "refuses_later":
		if _, err := os.Stat(os.Args[0] + ".ran"); err != nil {
			_ = os.WriteFile(os.Args[0]+".ran", nil, 0o600)
			return nil
		}
		complaint := text(text(number(nil, 1, 1), 2, "No such port"), 3, "The port is not a number.")
		return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), complaint)
	}
	return nil
}

func (s *server) start([]byte) []byte {
	if s.kind == "capture" {
		for _, f := range s.rings {
			go f.run(s.mode, s.plan)
		}
	}
	harm(s.mode)
	return nil
}

func (s *server) watch(_ any, stream grpc.ServerStream) error {
	if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	pause := 100 * time.Millisecond
	for {
		word := "well"
		switch s.mode {
		case "hang_watch":
			<-stream.Context().Done()
			return nil
		case "late":
			pause = 1500 * time.Millisecond
		case "huge_watch":
			word = strings.Repeat("y", 20<<20)
		case "large_watch": // as large as it may be, without end
			word, pause = strings.Repeat("y", 1<<20-64), 0
		case "invalid_watch":
			word = "\xff\xfe\x1b]0;title\a"
		}
		if err := stream.SendMsg(message(text(number(nil, 1, 1), 2, word))); err != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-stream.Context().Done():
			return nil
		}
	}
}

// message has these fields and no others.
func message(fields []byte) *emptypb.Empty {
	m := &emptypb.Empty{}
	m.ProtoReflect().SetUnknown(fields)
	return m
}

func text(b []byte, field protowire.Number, value string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), value)
}

func number(b []byte, field protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), value)
}

// fields calls each for every field of a message: a number, or bytes.
func fields(b []byte, each func(field protowire.Number, value uint64, bytes []byte)) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			value, n := protowire.ConsumeVarint(b)
			each(field, value, nil)
			b = b[max(n, 0):]
		case protowire.BytesType:
			bytes, n := protowire.ConsumeBytes(b)
			each(field, 0, bytes)
			b = b[max(n, 0):]
		default:
			b = b[max(protowire.ConsumeFieldValue(field, kind, b), 1):]
		}
	}
}
