package mitigate

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/core/internal/store"
)

// stillBook is one that writes when it is told to: nothing runs behind it.
func stillBook(path string, m *Manager) *book {
	b := &book{path: path, log: hclog.NewNullLogger(), all: m.everything, wake: make(chan struct{}, 1), over: make(chan struct{})}
	close(b.over)
	m.book = b
	return b
}

func (m *Manager) filed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.file(true)
}

// What people have refused, what has been there before and when the newest began
// are in the journal again after a write that failed, and after the file was gone.
func TestWhatIsWrittenByNameIsWrittenAgain(t *testing.T) {
	k := key{Action: block, Target: target(1), Direction: "incoming"}
	for name, spoil := range map[string]func(t *testing.T, m *Manager, b *book){
		"a write failed": func(t *testing.T, m *Manager, b *book) {
			if err := b.journal.Close(); err != nil {
				t.Fatal(err)
			}
			m.filed()
			b.flush()
			if len(b.troubles()) != 1 {
				t.Fatalf("troubles %q", b.troubles())
			}
		},
		"the file has gone": func(t *testing.T, m *Manager, b *book) {
			m.filed()
			b.flush()
			if err := os.Remove(b.path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, clk := filepath.Join(t.TempDir(), "journal.db"), newClock()
			m := New(Options{Boot: "b1", Clock: clk.now, Guard: wide(10, 10, 1)})
			b := stillBook(path, m)
			b.open()
			m.machine.recur[k] = recurrence{Level: 3, Until: 2 * time.Hour}
			m.machine.attacks["a"] = &calling{refused: map[key]bool{k: true}}
			m.machine.tally.begun = []time.Duration{time.Hour - time.Second}
			m.recurred, m.machine.refusals, m.machine.begun = true, true, true
			spoil(t, m, b)
			b.mend()
			if got := b.troubles(); len(got) != 0 {
				t.Fatalf("troubles %q", got)
			}
			b.close()

			m = New(Options{Boot: "b1", Clock: clk.now, Guard: wide(10, 10, 1), Journal: path})
			defer m.book.close()
			if got := m.machine.recur[k]; got.Level != 3 {
				t.Errorf("recurrence %+v", got)
			}
			if _, refused := m.machine.earlier[k]; !refused {
				t.Error("what was refused is not known")
			}
			if len(m.machine.tally.begun) != 1 {
				t.Errorf("begun: %v", m.machine.tally.begun)
			}
		})
	}
}

// A journal without a clock prolongs nothing: its times are taken for ours, and
// last no longer than what begins now.
func TestAJournalWithoutAClock(t *testing.T) {
	for name, c := range map[string]struct{ ends, want time.Duration }{
		"by our clock":     {time.Hour + 4*time.Minute, time.Hour + 4*time.Minute},
		"by an older one":  {1000 * time.Hour, time.Hour + 10*time.Minute},
		"it is over since": {time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			path, clk := filepath.Join(t.TempDir(), "journal.db"), newClock()
			e := entry{
				ID: "m1", Action: Action{Block: block}, Target: target(1), Direction: "incoming", Desired: true, HoldEnds: c.ends, MaxEnds: c.ends,
				Rules: Rules{Hold: 10 * time.Minute, Max: 10 * time.Minute},
			}
			r := e.record()
			j, err := store.OpenJournal(path, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := j.Write(&store.JournalChange{Open: map[string][]byte{"m1": r.encode()}}); err != nil {
				t.Fatal(err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			m := New(Options{Boot: "b1", Clock: clk.now, Guard: wide(10, 10, 1), Journal: path})
			defer m.book.close()
			if got := m.machine.byID["m1"]; got == nil || got.HoldEnds != c.want || got.MaxEnds != c.want {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Who announces something waits for a journal that begins with it, and not for one
// that cannot be opened.
func TestTheFirstPageIsWaitedFor(t *testing.T) {
	m := New(Options{Guard: wide(10, 10, 1)})
	waits := func(path string) (*book, func() bool) {
		b := stillBook(path, m)
		b.write(&store.JournalChange{Open: map[string][]byte{"m1": []byte("{}")}}, false)
		done := b.writing()
		return b, func() bool {
			select {
			case <-done:
				return false
			default:
				return true
			}
		}
	}
	path := filepath.Join(t.TempDir(), "journal.db")
	b, waiting := waits(path)
	if !waiting() {
		t.Error("the first page is not waited for")
	}
	b.flush()
	if _, err := os.Stat(path); err != nil || waiting() {
		t.Errorf("written, yet it is waited for: %v", err)
	}
	b.close()

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b = stillBook(filepath.Join(file, "journal.db"), m) // its directory is a file
	b.open()
	b.write(&store.JournalChange{}, false)
	select {
	case <-b.writing():
	default:
		t.Error("a journal that cannot be opened is waited for")
	}
}
