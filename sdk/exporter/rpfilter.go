package exporter

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// reversePath returns how many packets the reverse path filter of this machine
// (or network namespace) has dropped, and which interfaces it is strict on;
// nothing where the system does not tell.
func reversePath() (dropped uint64, strict string) {
	if b, err := os.ReadFile("/proc/net/netstat"); err == nil {
		dropped = counter(b, "IPReversePathFilter")
	}
	files, err := filepath.Glob("/proc/sys/net/ipv4/conf/*/rp_filter")
	if err != nil {
		return dropped, ""
	}
	var names []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) == "1" {
			if name := filepath.Base(filepath.Dir(f)); name != "default" && name != "lo" {
				names = append(names, name)
			}
		}
	}
	if len(names) > 8 {
		names = append(names[:8], "and others")
	}
	if len(names) > 0 {
		strict = fmt.Sprintf(" and is strict on %s", strings.Join(names, ", "))
	}
	return dropped, strict
}

// counter finds a number in the format of /proc/net/netstat: a line of names,
// a line of values.
func counter(b []byte, name string) uint64 {
	lines := bytes.Split(b, []byte("\n"))
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := bytes.Fields(lines[i]), bytes.Fields(lines[i+1])
		for k := range min(len(names), len(values)) {
			if string(names[k]) == name {
				n, _ := strconv.ParseUint(string(values[k]), 10, 64) // 0 where it is no number
				return n
			}
		}
	}
	return 0
}
