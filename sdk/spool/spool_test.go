package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func open(t testing.TB, o Options) *Spool {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// take delivers everything that waits, a few at a time, and returns it.
func take(t testing.TB, s *Spool) (out []Record) {
	t.Helper()
	for {
		records := s.Next(7, 1<<20)
		if len(records) == 0 {
			return out
		}
		out = append(out, records...)
		if err := s.Done(records[len(records)-1].Number); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOrder(t *testing.T) {
	for name, dir := range map[string]string{"memory": "", "disk": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			s := open(t, Options{Dir: dir})
			for i := range 1000 {
				s.Append(uint64(i+1), fmt.Appendf(nil, "record %d", i))
				s.Append(uint64(i+1), []byte("the same once more"))
			}
			if st := s.Stats(); st.Waiting != 1000 || st.Err != nil || st.Dropped != 0 {
				t.Fatalf("%+v", st)
			}
			for i, r := range take(t, s) {
				if want := fmt.Sprintf("record %d", i); string(r.Data) != want || r.Number != uint64(i+1) || r.Again {
					t.Fatalf("%d: %d %q %v", i, r.Number, r.Data, r.Again)
				}
			}
			if st := s.Stats(); st.Waiting != 0 || st.Bytes != 0 || st.Age != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// What waits is there again, marked, what is delivered is not, and segments go.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	big := bytes.Repeat([]byte("x"), 100_000)
	for round := range 3 {
		s := open(t, Options{Dir: dir})
		for i := range 50 {
			s.Append(uint64(1+round*50+i), fmt.Appendf(big[:len(big):len(big)], "%d", round*50+i))
		}
		s.Append(uint64(1+round*50), []byte("twice, in another process too"))
		n := 0
		for n < 40 {
			r := s.Next(10, 1<<20)
			for i := range r {
				if want := fmt.Sprint(round*40 + n); string(r[i].Data[len(big):]) != want || r[i].Again != (round*40+n < round*50) {
					t.Fatalf("round %d: %s, want %s (again %v)", round, r[i].Data[len(big):], want, r[i].Again)
				}
				n++
				if err := s.Done(r[i].Number); err != nil {
					t.Fatal(err)
				}
				if n == 40 {
					break
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) > 7 {
		t.Errorf("%d files are left, %v", len(names), err)
	}
}

func TestBounded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, Size: 3 << 20})
	data := make([]byte, 10_000)
	for i := range 2000 {
		binary.LittleEndian.PutUint64(data, uint64(i))
		s.Append(0, data)
	}
	st := s.Stats()
	if st.Bytes > 3<<20 || st.Dropped == 0 || st.Waiting+int(st.Dropped) != 2000 {
		t.Errorf("%+v", st)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) > 6 {
		t.Errorf("%d files, %v", len(files), err)
	}
	for i, r := range take(t, s) {
		if binary.LittleEndian.Uint64(r.Data) != st.Dropped+uint64(i) {
			t.Fatalf("%d is %d", i, binary.LittleEndian.Uint64(r.Data))
		}
	}
}

// Half a record at the end is cut off, and the next one stands where it was.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	for i := range 3 {
		s.Append(0, []byte{byte(i)})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err := os.Truncate(files[0], 3*(headerSize+1)-1); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir})
	s.Append(0, []byte{7})
	got := take(t, s)
	if len(got) != 3 || got[2].Data[0] != 7 || got[1].Data[0] != 1 || s.Stats().Damaged != 1 {
		t.Errorf("%v, %+v", got, s.Stats())
	}
}

// A disk that takes nothing makes records wait in memory, in order.
func TestDiskRefuses(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	s.Append(0, []byte("a"))
	if err := s.segments[0].file.Close(); err != nil { // what a disk does that is gone
		t.Fatal(err)
	}
	s.Append(0, []byte("b"))
	if st := s.Stats(); st.Err == nil || st.Memory != 1 || st.Waiting != 2 {
		t.Errorf("%+v", st)
	}
	s.Append(0, []byte("c")) // a segment of its own
	var got string
	for _, r := range take(t, s) {
		got += string(r.Data)
	}
	if got != "bc" || s.Stats().Damaged != 1 {
		t.Errorf("%q, %+v", got, s.Stats())
	}
}

const envKilled = "SPOOL_TEST_DIR"

// TestKilled is the process that TestKill kills: it appends and delivers, and
// writes down what it has delivered before it says so.
func TestKilled(t *testing.T) {
	dir := os.Getenv(envKilled)
	if dir == "" {
		return
	}
	s := open(t, Options{Dir: filepath.Join(dir, "spool")})
	out, err := os.OpenFile(filepath.Join(dir, "out"), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for i := s.next; ; i++ {
		s.Append(i, binary.LittleEndian.AppendUint64(nil, i))
		if i%3 == 0 {
			continue
		}
		for _, r := range s.Next(2, 1<<20) {
			if _, err := out.Write(r.Data); err != nil {
				t.Fatal(err)
			}
			if err := s.Done(r.Number); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// However often the process is killed, every record comes in order; one may
// come twice at a kill, and is marked then.
func TestKill(t *testing.T) {
	kills := 5
	if os.Getenv("FASTNETMON_SOAK") != "" {
		kills = 200
	}
	dir := t.TempDir()
	for range kills {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), envKilled+"="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(150 * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	b, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	last, twice := uint64(0), 0
	for ; len(b) >= 8; b = b[8:] {
		switch n := binary.LittleEndian.Uint64(b); n {
		case last + 1:
			last = n
		case last:
			twice++
		default:
			t.Fatalf("%d follows %d", n, last)
		}
	}
	if last == 0 || twice > kills {
		t.Errorf("%d records, %d twice", last, twice)
	}
	t.Logf("%d records, %d of them twice, %d kills", last, twice, kills)
}

// FuzzOpen opens whatever stands in a segment: no panic, and what is appended
// afterwards comes out.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	s := open(f, Options{Dir: dir})
	for i := range 3 {
		s.Append(uint64(i), []byte("some data"))
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
	good, err := os.ReadFile(files[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, []byte{})
	f.Add(good[:50], []byte{1})
	f.Add(append(bytes.Clone(good[:40]), good...), make([]byte, 32))
	f.Fuzz(func(t *testing.T, segment, done []byte) {
		dir := t.TempDir()
		for name, data := range map[string][]byte{"00000000000000000001" + suffix: segment, "done": done} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, Options{Dir: dir})
		had := len(take(t, s))
		s.Append(0, []byte("new"))
		if got := take(t, s); len(got) != 1 || string(got[0].Data) != "new" {
			t.Fatalf("after %d records: %v", had, got)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	s := open(b, Options{Dir: b.TempDir()})
	data := make([]byte, 2000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Append(0, data)
		if err := s.Done(uint64(i + 1)); err != nil {
			b.Fatal(err)
		}
	}
}
