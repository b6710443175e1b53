package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

// server speaks the contract with messages of raw fields.
type server struct {
	goplugin.NetRPCUnsupportedPlugin
	behaviour string
}

func (s *server) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func (s *server) GRPCServer(_ *goplugin.GRPCBroker, registrar *grpc.Server) error {
	unary := func(name string, answer func() []byte) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if err := decode(&emptypb.Empty{}); err != nil {
				return nil, err
			}
			return message(answer()), nil
		}}
	}
	registrar.RegisterService(&grpc.ServiceDesc{
		ServiceName: "fastnetmon.plugin.v1.Plugin",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{unary("Describe", s.describe), unary("Start", s.start), unary("Drain", s.drain)},
		Streams:     []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: s.watch}},
	}, struct{}{})
	return nil
}

func (s *server) describe() []byte {
	protocol := uint64(1)
	switch s.behaviour {
	case "describehangs":
		hang()
	case "describepanics":
		panic("no description today")
	case "stopsearly":
		freeze()
	case "lies":
		protocol = 2
	}
	b := text(nil, 1, name(s.behaviour))
	b = text(b, 2, "capture")
	b = text(b, 3, "1.2.3")
	b = text(b, 4, "0.1.0")
	return number(b, 5, protocol)
}

func (s *server) start() []byte {
	switch s.behaviour {
	case "spams":
		go spam()
	case "grandchild":
		grandchildren()
	case "allocates":
		go allocate()
	}
	return nil
}

func (s *server) drain() []byte {
	switch s.behaviour {
	case "stops":
		freeze()
	case "drainhangs":
		hang()
	}
	return nil
}

func (s *server) watch(_ any, stream grpc.ServerStream) error {
	if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	for n := 0; ; n++ {
		const running, unhealthy, finished, failed = 1, 2, 3, 4
		state := uint64(running)
		switch {
		case s.behaviour == "unwatched":
			<-stream.Context().Done()
			return nil
		case s.behaviour == "freezes" && n == 2:
			freeze()
		case s.behaviour == "crashes" && n == 2:
			panic("boom")
		case s.behaviour == "finishes" && n == 2:
			state = finished
		case s.behaviour == "fails" && n == 1:
			state = failed
		case s.behaviour == "moody" && n < 3:
			state = unhealthy
		}
		if err := stream.SendMsg(message(text(number(nil, 1, state), 2, "word "+strconv.Itoa(n)))); err != nil {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-stream.Context().Done():
			return nil
		}
	}
}

// spam writes what made go-plugin's parser panic, and a lot of it.
func spam() {
	fmt.Fprintln(stderr, `{"@message": 5}`)
	line := []byte(`{"@level":"warn","@message":"packet 123 is odd","n":1}` + "\n")
	for range 40000 {
		stderr.Write(line)
	}
	stderr.WriteString(strings.Repeat("y", 200<<10))
	stderr.WriteString("\n[ERROR] spam over\n")
}

// allocate takes memory, and uses it, until there is no more.
func allocate() {
	var all [][]byte
	for {
		all = append(all, []byte(strings.Repeat("x", 1<<20)))
		time.Sleep(time.Millisecond)
	}
}

// grandchildren leaves two processes behind that hold stdout and stderr: one
// in the plugin's group, then one that has left it.
func grandchildren() {
	for _, apart := range []bool{false, true} {
		cmd := exec.Command("sleep", "600")
		cmd.Stdout, cmd.Stderr = stdout, stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: apart}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		fmt.Fprintf(stderr, "grandchild %d\n", cmd.Process.Pid)
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
