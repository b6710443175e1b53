package cache

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// fileMemory is the resident memory of files, KiB.
func fileMemory(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "RssFile:")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib
}

// The program goes on as before, with less of it in memory.
func TestReleaseProgram(t *testing.T) {
	before := fileMemory(t)
	ReleaseProgram()
	if after := fileMemory(t); after >= before {
		t.Errorf("%d KiB of files in memory, %d before", after, before)
	}
	ReleaseProgram()
}

func TestParseMapping(t *testing.T) {
	m, ok := parseMapping("00400000-00ca9000 r-xp 00000000 fe:00 9994346                            /usr/sbin/fastnetmon (deleted)")
	if want := (mapping{0x400000, 0xca9000, "r-xp", "fe:00 9994346", false}); !ok || m != want {
		t.Errorf("%+v, %v", m, ok)
	}
	for _, line := range []string{
		"", "7f03f3200000-7f03f3c00000 rw-p 00000000 00:00 0", "7ffd0-7ffd1 r-xp 00000000 00:00 0 [vdso]",
		"x-00ca9000 r-xp 0 fe:00 9 /a", "00ca9000 r-xp 0 fe:00 9 /a", "00ca9000-00400000 r-xp 0 fe:00 9 /a",
	} {
		if m, ok := parseMapping(line); ok {
			t.Errorf("%q is %+v", line, m)
		}
	}
}
