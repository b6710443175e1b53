package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// The README's configurations of neighbours are such.
func TestNeighborsOfReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs BIRD and FRR")
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```text\n(.*?)^```").FindAllStringSubmatch(string(readme), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d configurations", len(blocks))
	}
	dir := t.TempDir()
	for i, argv := range [][]string{
		{sdktest.Program(t, "bird"), "-p", "-c", filepath.Join(dir, "0")},
		{sdktest.Program(t, "vtysh"), "--vty_socket", dir, "-C", "-f", filepath.Join(dir, "1")},
	} {
		writeFile(t, filepath.Join(dir, string(rune('0'+i))), blocks[i][1])
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil || strings.Contains(string(out), "%") {
			t.Errorf("%s: %v\n%s", argv[0], err, out)
		}
	}
}
