package ring

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// roleEnv makes this test binary play the other process.
const roleEnv = "RING_TEST_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	play, ok := map[string]func(*os.File) error{
		"produce": produceRole, "flood": floodRole, "tick": tickRole, "judge": judgeRole,
	}[role]
	if !ok {
		fmt.Fprintln(os.Stderr, "no such role:", role)
		os.Exit(2)
	}
	if err := play(os.NewFile(3, "ring")); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// startRole starts this binary in a role, with the ring as descriptor 3.
func startRole(tb testing.TB, role string, f *os.File) *exec.Cmd {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	return cmd
}

// produceRole stamps deltas by their position, in batches of every size, for
// as long as it lives.
func produceRole(f *os.File) error {
	w, err := OpenDelta(f)
	if err != nil {
		return err
	}
	batch := make([]Delta, 300)
	n := w.head
	for size := 1; ; size = size%len(batch) + 1 {
		if size%2 == 0 {
			view := w.Reserve(size)
			for i := range view {
				stamp(&view[i], n+uint64(i))
			}
			w.Publish(len(view))
			n += uint64(len(view))
			continue
		}
		for i := range size {
			stamp(&batch[i], n+uint64(i))
		}
		got, err := w.WriteBlocking(func() bool { return false }, batch[:size])
		if err != nil {
			return err
		}
		n += uint64(got)
	}
}

// TestKilledProducer kills producers at random points: whatever was published
// is whole and nothing is missing, and the next producer goes on behind it.
func TestKilledProducer(t *testing.T) {
	r := newDelta(t, 1024)
	rng := rand.New(rand.NewPCG(3, 4))
	buf := make([]Delta, 500)
	var n uint64
	kills := 50
	if os.Getenv("FASTNETMON_SOAK") != "" { // "make soak"
		kills = 1000
	}
	for range kills {
		cmd := startRole(t, "produce", r.File())
		until := n + 1 + rng.Uint64N(20_000)
		for killed := false; ; {
			got, err := r.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if !stamped(&buf[i], n) {
					t.Fatalf("delta %d is torn or not the next", n)
				}
				n++
			}
			switch {
			case n >= until && !killed:
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				if err := cmd.Wait(); err == nil {
					t.Fatal("the producer ended by itself")
				}
				killed = true
			case got == 0 && killed:
			case got == 0:
				if _, err := r.Wait(time.Second); err != nil {
					t.Fatal(err)
				}
			}
			if got == 0 && killed {
				break
			}
		}
	}
	t.Logf("%d deltas from %d killed producers", n, kills)
}

// tickRole writes a delta now and then that carries the time of its writing.
func tickRole(f *os.File) error {
	w, err := OpenDelta(f)
	if err != nil {
		return err
	}
	for range 200 {
		time.Sleep(2 * time.Millisecond)
		w.Write([]Delta{{Packets: uint64(monotonic())}})
	}
	return nil
}

func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

func TestWakeLatency(t *testing.T) {
	r := newDelta(t, 1024)
	cmd := startRole(t, "tick", r.File())
	var late []time.Duration
	buf := make([]Delta, 1)
	deadline := time.Now().Add(time.Minute)
	for len(late) < 200 {
		if time.Now().After(deadline) {
			t.Fatalf("%d of 200 deltas came", len(late))
		}
		ready, err := r.Wait(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if !ready {
			continue
		}
		now := monotonic()
		if n, err := r.Read(buf); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		late = append(late, time.Duration(now-int64(buf[0].Packets)))
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(late)
	t.Logf("wake-up: p50 %v, p99 %v", late[100], late[198])
	// A lost wake-up would show as waitSlice; a busy machine shows in p99 only.
	if late[100] > waitSlice/4 {
		t.Errorf("half the deltas were seen %v or more after they were written", late[100])
	}
}

// floodRole writes as fast as it can.
func floodRole(f *os.File) error {
	w, err := OpenDelta(f)
	if err != nil {
		return err
	}
	for n := w.head; ; {
		view := w.Reserve(256)
		if len(view) == 0 {
			w.waitRoom(stopPoll)
			continue
		}
		for i := range view {
			view[i] = Delta{Kind: KindHost, Family: 4, SpanMs: 50, Sampling: 1, PrefixLen: 32, Packets: n, Bytes: ^n}
			n++
		}
		w.Publish(len(view))
	}
}

// BenchmarkDeltaTwoProcesses reads what another process writes. The bar is
// 30 M deltas/s on two cores.
func BenchmarkDeltaTwoProcesses(b *testing.B) {
	r := newDelta(b, 1<<14)
	cmd := startRole(b, "flood", r.File())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	buf := make([]Delta, 512)
	var n uint64
	read := func(until uint64) {
		for n < until {
			got, err := r.Read(buf[:min(uint64(len(buf)), until-n)])
			if err != nil {
				b.Fatal(err)
			}
			if got == 0 {
				if _, err := r.Wait(time.Second); err != nil {
					b.Fatal(err)
				}
			}
			for i := range got {
				if d := &buf[i]; d.Packets != n || d.Bytes != ^n {
					b.Fatalf("delta %d reads as %d", n, d.Packets)
				}
				n++
			}
		}
	}
	read(1 << 15) // the other process has started
	b.ReportAllocs()
	b.SetBytes(DeltaSize)
	b.ResetTimer()
	read(n + uint64(b.N))
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mdeltas/s")
}
