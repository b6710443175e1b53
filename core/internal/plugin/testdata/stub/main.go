// Command stub is every stub plugin of the launcher's tests: it behaves as the
// name by which it is run says, "capture-<behaviour>". It is made without the
// SDK, so that it can do what the SDK would not let it.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
)

// The stub's own output, whatever go-plugin makes of os.Stdout and os.Stderr.
var stdout, stderr = os.Stdout, os.Stderr

func main() {
	_, behaviour, _ := strings.Cut(filepath.Base(os.Args[0]), "-")
	if len(os.Args) > 1 && os.Args[1] == "describe" {
		describe(behaviour)
		return
	}
	protocol := 1
	switch behaviour {
	case "garbage":
		fmt.Println("Loading modules, please wait ...")
		hang()
	case "longline":
		fmt.Print(strings.Repeat("x", 300<<10))
		hang()
	case "exits":
		exit()
	case "silent":
		return
	case "mute":
		hang()
	case "elsewhere":
		fmt.Println("1|1|tcp|127.0.0.1:9|grpc|" + strings.Repeat("A", 60))
		hang()
	case "newer":
		protocol = 7
	case "ignoring":
		// Neither the handshake's end nor a signal but the last ends it.
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		defer hang()
	}
	go liveness()
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			MagicCookieKey: "FASTNETMON_PLUGIN_COOKIE", MagicCookieValue: "c3a1f0de9b7442d58f10a1f4f2a9e6b7",
		},
		VersionedPlugins: map[int]goplugin.PluginSet{protocol: {"fastnetmon": &server{behaviour: behaviour}}},
		GRPCServer:       goplugin.DefaultGRPCServer,
	})
}

func describe(behaviour string) {
	switch behaviour {
	case "mute":
		hang()
	case "exits":
		exit()
	case "garbage":
		fmt.Println("hello")
		return
	case "flood":
		for {
			fmt.Println(strings.Repeat("x", 64<<10))
		}
	}
	fmt.Printf(`{"kind":"capture","name":%q,"version":"1.2.3","sdk_version":"0.1.0","protocol":1}`+"\n", name(behaviour))
}

// name is what the stub says that it is called.
func name(behaviour string) string {
	if behaviour == "misnamed" {
		return "other"
	}
	return behaviour
}

func exit() {
	fmt.Fprintln(stderr, "cannot read /etc/stub.conf: no such file")
	os.Exit(3)
}

// hang waits for ever, but not in a way that Go calls a deadlock.
func hang() {
	for {
		time.Sleep(time.Hour)
	}
}

// freeze stops the whole process and does not go on when it is continued.
func freeze() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	hang()
}

// liveness ends the process when the core has died, as the SDK does.
func liveness() {
	fd, err := strconv.Atoi(os.Getenv("FASTNETMON_LIVENESS_FD"))
	if err != nil {
		return
	}
	_, _ = os.NewFile(uintptr(fd), "liveness").Read(make([]byte, 1))
	os.Exit(4)
}
