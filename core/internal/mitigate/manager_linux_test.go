package mitigate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// A disk that fills up, or may not be written any more, stops nothing, and what
// was missed is written once it can be.
func TestTheDisk(t *testing.T) {
	for name, c := range map[string]struct {
		spoil, mend func(t *testing.T, dir string)
	}{
		"full": {
			func(t *testing.T, dir string) { sdktest.FillDisk(t, filepath.Join(dir, "ballast")) },
			func(t *testing.T, dir string) {
				if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
					t.Fatal(err)
				}
			},
		},
		"too small": { // for the journal to begin
			func(t *testing.T, dir string) {},
			func(t *testing.T, dir string) {
				if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=8m"); err != nil {
					t.Fatal(err)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			size := "1m"
			if name == "too small" {
				size = "8k"
			}
			dir := sdktest.SmallDisk(t, size)
			path := filepath.Join(dir, "journal.db")
			d := newDesk(t, path, nil, "b1")
			p := &fakePlugin{}
			d.Up(block, p, 0, true)
			if name == "full" {
				d.flood(1, block)
				eventually(t, "announced", func() bool { return p.holds() == 1 })
			}
			c.spoil(t, dir)
			d.flood(100, block)
			eventually(t, "announced all the same", func() bool { return p.holds() == 100 })
			eventually(t, "told", func() bool { return strings.Contains(strings.Join(d.Troubles(), "\n"), "no room") })
			c.mend(t, dir)
			eventually(t, "written", func() bool { return len(d.Troubles()) == 0 })
			d.stop()
			if d = newDesk(t, path, nil, "b1"); len(d.Reports()) != 100 {
				t.Errorf("%d are taken over", len(d.Reports()))
			}
		})
	}
	t.Run("read-only", func(t *testing.T) {
		dir := sdktest.SmallDisk(t, "8m")
		path := filepath.Join(dir, "journal.db")
		d := newDesk(t, path, nil, "b1")
		p := &fakePlugin{}
		d.Up(block, p, 0, true)
		d.flood(7, block)
		eventually(t, "announced", func() bool { return p.holds() == 7 })
		d.stop()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		if d = newDesk(t, path, nil, "b1"); len(d.Reports()) != 7 {
			t.Errorf("what can be read is not taken over: %d", len(d.Reports()))
		}
		d.Up(block, p, 0, true)
		d.flood(9, block)
		eventually(t, "announced all the same", func() bool { return p.holds() == 9 })
		if got := strings.Join(d.Troubles(), "\n"); !strings.Contains(got, "may not be written") {
			t.Errorf("troubles %q", got)
		}
	})
}
