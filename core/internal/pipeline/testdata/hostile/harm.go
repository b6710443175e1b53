package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// harm does what a mode does to the machine, once the plugin runs.
func harm(mode string) {
	switch mode {
	case "stdout_after":
		go func() {
			for range 200 {
				_, _ = stdout.WriteString(strings.Repeat("1|1|unix|/tmp/elsewhere|grpc|\n", 20<<10/30))
				time.Sleep(time.Millisecond)
			}
		}()
	case "stderr":
		go spill()
	case "stops":
		time.AfterFunc(500*time.Millisecond, stop)
	case "crashes":
		time.AfterFunc(300*time.Millisecond, func() { panic("boom") })
	case "refuses_later":
		time.AfterFunc(200*time.Millisecond, func() { os.Exit(1) })
	case "forks":
		for range 50 {
			child(false)
		}
		time.AfterFunc(200*time.Millisecond, func() { os.Exit(1) })
	case "grandchild":
		child(false)
		child(true)
		time.AfterFunc(200*time.Millisecond, func() { os.Exit(1) })
	case "allocates":
		go func() {
			var all [][]byte
			for {
				all = append(all, make([]byte, 1<<20))
				for i := 0; i < 1<<20; i += 4096 {
					all[len(all)-1][i] = 1
				}
				time.Sleep(time.Millisecond)
			}
		}()
	}
}

// spill writes what makes go-plugin's own parser panic, then 100 MB.
func spill() {
	fmt.Fprintln(stderr, `{"@message": 5}`)
	fmt.Fprintln(stderr, `{"@level": {"a":[1]}, "@message": null, "@timestamp": 7}`)
	fmt.Fprintln(stderr, strings.Repeat("y", 200<<10))
	short := []byte(strings.Repeat(`{"@level":"warn","@message":"packet 123 is odd","n":1}`+"\n", 1000))
	long := []byte(strings.Repeat("z", 60<<10) + "\n")
	for n := 0; n < 100<<20; n += len(short) + 20*len(long) {
		_, _ = stderr.Write(short)
		for range 20 {
			_, _ = stderr.Write(long)
		}
	}
	os.Exit(6)
}

// child leaves a process behind that holds all descriptors; with apart it has
// left the plugin's process group.
func child(apart bool) {
	cmd := exec.Command("sleep", "600")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: apart}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
}
