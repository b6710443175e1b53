package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	sdktest.Conformance(t, plugin(), `
		role    = "mitigate"
		command = ["/bin/sh", "-c", "cat > /dev/null"]
	`)
}

// Through the contract, as the core calls it.
func TestThroughContract(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "script.sh")
	if err := os.WriteFile(path, []byte(keep), 0o600); err != nil {
		t.Fatal(err)
	}
	h := sdktest.New(t, plugin(), fmt.Sprintf(`
		role        = "notify"
		command     = ["/bin/sh", %q, %q]
		timeout     = "5s"
		environment = { TOKEN = "t0k" }
	`, path, dir))
	if err := h.Notify(attack()); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, dir, "ban.args"), "10.10.10.221\nincoming\n99059\nban\n"; got != want {
		t.Errorf("arguments %q, want %q", got, want)
	}
	if got := read(t, dir, "ban.stdin"); got != string(counters(attack())) {
		t.Errorf("standard input:\n%s", got)
	}
}

// The core shows the plugin's complaint at the attribute that is wrong.
func TestComplaint(t *testing.T) {
	ds := sdktest.New(t, plugin(), `
		role    = "notify"
		command = ["/no/such/program"]
	`).Validate()
	if len(ds) != 1 || ds[0].Path.String() != "command[0]" {
		t.Errorf("%v", ds)
	}
}
