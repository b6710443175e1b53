package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/fastnetmon-go/fastnetmon/sdk/host"
)

// The test binary is every stub plugin: it behaves as the name by which it is
// run says, "capture-<behaviour>".
func TestMain(m *testing.M) {
	if kind, behaviour, ok := strings.Cut(filepath.Base(os.Args[0]), "-"); ok && kind == "capture" {
		os.Exit(stub(behaviour))
	}
	if len(os.Args) > 1 && os.Args[1] == "intermediate" {
		os.Exit(intermediate(os.Args[2], os.Args[3]))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(builtDir)
		os.Exit(code)
	}))
}

// hang waits for ever, but not in a way that Go calls a deadlock.
func hang() {
	for {
		time.Sleep(time.Hour)
	}
}

func stub(behaviour string) int {
	if len(os.Args) > 1 && os.Args[1] == "describe" {
		return stubDescribe(behaviour)
	}
	restoreStdout()
	switch behaviour {
	case "garbage":
		fmt.Println("Loading modules, please wait ...")
		hang()
	case "longline":
		fmt.Print(strings.Repeat("x", 300<<10))
		hang()
	case "exits":
		fmt.Fprintln(os.Stderr, "cannot read /etc/stub.conf: no such file")
		return 3
	case "silent":
		return 0
	case "mute":
		hang()
	case "elsewhere":
		fmt.Println("1|1|tcp|127.0.0.1:9|grpc|" + strings.Repeat("A", 60))
		hang()
	case "newer":
		serveStub(behaviour, 7)
	case "ignoring":
		// Neither the handshake's end nor a signal but the last ends it.
		signalIgnore()
		serveStub(behaviour, 1)
		hang()
	default:
		serveStub(behaviour, 1)
	}
	return 0
}

// restoreStdout undoes what the SDK, which the test binary holds too, did when
// it saw that it runs as a plugin: it moved stdout to the first descriptor
// from 10 on. Stubs are programs without the SDK and print where they like.
func restoreStdout() {
	if err := dupStdout(); err == nil {
		os.Stdout = os.NewFile(1, "stdout")
	}
}

func stubDescribe(behaviour string) int {
	switch behaviour {
	case "mute":
		hang()
	case "exits":
		fmt.Fprintln(os.Stderr, "cannot read /etc/stub.conf: no such file")
		return 3
	case "garbage":
		fmt.Println("hello")
		return 0
	case "flood":
		for {
			fmt.Println(strings.Repeat("x", 64<<10))
		}
	}
	text, _ := json.Marshal(host.Description{Kind: "capture", Name: stubName(behaviour), Version: "1.2.3", SDKVersion: "0.1.0", Protocol: 1})
	os.Stdout.Write(text)
	return 0
}

func stubName(behaviour string) string {
	if behaviour == "misnamed" {
		return "other"
	}
	return behaviour
}

// stopSelf returns only when the process is continued. Its other threads may
// run on for a moment, so this one waits before it answers.
func stopSelf() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	time.Sleep(time.Second)
}

// stubServer speaks the contract without the SDK: messages are raw fields.
type stubServer struct {
	goplugin.NetRPCUnsupportedPlugin
	behaviour string
}

func (s *stubServer) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func raw(b []byte) *emptypb.Empty {
	m := &emptypb.Empty{}
	m.ProtoReflect().SetUnknown(b)
	return m
}

func text(b []byte, field protowire.Number, value string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), value)
}

func number(b []byte, field protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), value)
}

func (s *stubServer) GRPCServer(_ *goplugin.GRPCBroker, server *grpc.Server) error {
	unary := func(name string, answer func(context.Context) []byte) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if err := decode(&emptypb.Empty{}); err != nil {
				return nil, err
			}
			return raw(answer(ctx)), nil
		}}
	}
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "fastnetmon.plugin.v1.Plugin",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary("Describe", s.describe), unary("Start", s.start), unary("Drain", s.drain),
		},
		Streams: []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: s.watch}},
	}, struct{}{})
	return nil
}

func (s *stubServer) describe(context.Context) []byte {
	switch s.behaviour {
	case "describehangs":
		hang()
	case "describepanics":
		panic("no description today")
	case "stopsearly":
		stopSelf()
	}
	b := text(nil, 1, stubName(s.behaviour))
	b = text(b, 2, "capture")
	b = text(b, 3, "1.2.3")
	b = text(b, 4, "0.1.0")
	protocol := uint64(1)
	if s.behaviour == "lies" {
		protocol = 2
	}
	return number(b, 5, protocol)
}

func (s *stubServer) start(context.Context) []byte {
	switch s.behaviour {
	case "spams":
		go stubSpam()
	case "grandchild":
		stubGrandchild()
	case "crashes":
		time.AfterFunc(50*time.Millisecond, func() { panic("boom") })
	}
	return nil
}

func (s *stubServer) drain(context.Context) []byte {
	switch s.behaviour {
	case "stops":
		stopSelf()
	case "drainhangs":
		hang()
	}
	return nil
}

func (s *stubServer) watch(_ any, stream grpc.ServerStream) error {
	if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	for n := 0; ; n++ {
		state := uint64(1)
		switch {
		case s.behaviour == "unwatched":
			<-stream.Context().Done()
			return nil
		case s.behaviour == "freezes" && n == 2:
			stopSelf()
		case s.behaviour == "finishes" && n == 2:
			state = 3
		case s.behaviour == "fails" && n == 1:
			state = 4
		case s.behaviour == "moody" && n < 3:
			state = 2
		}
		if err := stream.SendMsg(raw(text(number(nil, 1, state), 2, "word "+strconv.Itoa(n)))); err != nil {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-stream.Context().Done():
			return nil
		}
	}
}

// stubSpam writes what made go-plugin's parser panic, and a lot of it.
func stubSpam() {
	fmt.Fprintln(os.NewFile(2, "stderr"), `{"@message": 5}`)
	fd2 := os.NewFile(2, "stderr")
	line := []byte(`{"@level":"warn","@message":"packet 123 is odd","n":1}` + "\n")
	for range 40000 {
		fd2.Write(line)
	}
	fd2.Write([]byte(strings.Repeat("y", 200<<10)))
	fd2.Write([]byte("\n[ERROR] spam over\n"))
}

// stubGrandchild leaves a process behind that holds stdout and stderr, in the
// plugin's group, and one that has left the group.
func stubGrandchild() {
	for _, apart := range []bool{false, true} {
		cmd := exec.Command("sleep", "600")
		cmd.Stdout, cmd.Stderr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: apart}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		fmt.Fprintf(os.NewFile(2, "stderr"), "grandchild %d\n", cmd.Process.Pid)
	}
}

func serveStub(behaviour string, protocol int) {
	go stubLiveness()
	handshake := host.Handshake
	handshake.ProtocolVersion = 0
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: map[int]goplugin.PluginSet{protocol: {"fastnetmon": &stubServer{behaviour: behaviour}}},
		GRPCServer:       goplugin.DefaultGRPCServer,
	})
}

// stubLiveness ends the process when the core has died, as the SDK does.
func stubLiveness() {
	fd, err := strconv.Atoi(os.Getenv(host.EnvLivenessFD))
	if err != nil {
		return
	}
	_, _ = os.NewFile(uintptr(fd), "liveness").Read(make([]byte, 1))
	os.Exit(4)
}
