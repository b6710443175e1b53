// Command hostile is every plugin of the hostile table that does what the SDK
// would not let it do: it misbehaves as the name by which it is run says,
// "<kind>-<mode>". Whatever is not its mode's fault it does as it should.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
)

// Its own output, whatever go-plugin makes of os.Stdout and os.Stderr.
var stdout, stderr = os.Stdout, os.Stderr

func main() {
	if len(os.Args) > 1 && os.Args[1] == "haunt" {
		haunt()
		return
	}
	kind, mode, _ := strings.Cut(filepath.Base(os.Args[0]), "-")
	if len(os.Args) > 1 && os.Args[1] == "describe" {
		fmt.Printf(`{"kind":%q,"name":%q,"version":"1","sdk_version":"0.1.0","protocol":1}`+"\n", kind, mode)
		return
	}
	protocol := 1
	switch mode {
	case "stdout_before":
		fmt.Println("Loading modules, please wait ...")
		hang()
	case "stdout_long":
		fmt.Print(strings.Repeat("x", 300<<10))
		hang()
	case "exits":
		fmt.Fprintln(stderr, "cannot read /etc/hostile.conf: no such file")
		os.Exit(3)
	case "mute":
		hang()
	case "protocol_old":
		protocol = 0
	case "protocol_new":
		protocol = 7
	}
	go liveness()
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			MagicCookieKey: "FASTNETMON_PLUGIN_COOKIE", MagicCookieValue: "c3a1f0de9b7442d58f10a1f4f2a9e6b7",
		},
		VersionedPlugins: map[int]goplugin.PluginSet{protocol: {"fastnetmon": &server{kind: kind, mode: mode}}},
		GRPCServer:       goplugin.DefaultGRPCServer,
	})
}

// hang waits for ever, but not in a way that Go calls a deadlock.
func hang() {
	for {
		time.Sleep(time.Hour)
	}
}

// stop stops the whole process, which does not go on when it is continued.
func stop() {
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
