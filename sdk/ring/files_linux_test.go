package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openFiles counts this process's descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func newPair(t *testing.T) (core, plugin *os.File) {
	t.Helper()
	core, plugin, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = core.Close(); _ = plugin.Close() })
	return core, plugin
}

// tempFiles are n files that hold their number.
func tempFiles(t *testing.T, n int) []*os.File {
	t.Helper()
	files := make([]*os.File, n)
	for i := range files {
		f, err := os.CreateTemp(t.TempDir(), "f")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		if _, err := f.WriteString(strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
		files[i] = f
	}
	return files
}

func soon() time.Time { return time.Now().Add(10 * time.Second) }

func TestFilesTravel(t *testing.T) {
	core, plugin := newPair(t)
	files := tempFiles(t, 2*filesChunk+3)
	before := openFiles(t)
	// A batch that nobody fetched, one that is too old, then ours.
	for token := uint64(1); token <= 3; token++ {
		if err := SendFiles(core, token, files[:len(files)-3+int(token)]); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReceiveFiles(plugin, 3, len(files), soon())
	if err != nil || len(got) != len(files) {
		t.Fatalf("ReceiveFiles = %d files, %v", len(got), err)
	}
	for i, f := range got {
		b := make([]byte, 10)
		n, _ := f.ReadAt(b, 0)
		if string(b[:n]) != strconv.Itoa(i) {
			t.Fatalf("file %d holds %q", i, b[:n])
		}
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Fatalf("file %d would be inherited (%v)", i, err)
		}
		_ = f.Close()
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors leaked", after-before)
	}
	if got, err := ReceiveFiles(plugin, 3, 0, soon()); len(got) != 0 || err != nil {
		t.Errorf("ReceiveFiles of none = %v, %v", got, err)
	}
}

func TestReceiveFilesRefuses(t *testing.T) {
	message := func(magic, at uint32, token uint64, total, count uint32) []byte {
		var b bytes.Buffer
		for _, v := range []any{magic, at, token, total, count} {
			_ = binary.Write(&b, binary.LittleEndian, v)
		}
		return b.Bytes()
	}
	for _, c := range []struct {
		name string
		msg  []byte
		fds  int
	}{
		{"magic", message(1, 0, 5, 2, 2), 2},
		{"short", message(filesMagic, 0, 5, 2, 2)[:20], 2},
		{"long", append(message(filesMagic, 0, 5, 2, 2), 0, 0), 2},
		{"newer token", message(filesMagic, 0, 6, 2, 2), 2},
		{"index", message(filesMagic, 1, 5, 2, 2), 2},
		{"total", message(filesMagic, 0, 5, 3, 2), 2},
		{"fewer than promised", message(filesMagic, 0, 5, 2, 2), 1},
		{"surplus", message(filesMagic, 0, 5, 2, 3), 3},
		{"none", message(filesMagic, 0, 5, 2, 0), 0},
		{"too many to hold", message(filesMagic, 0, 5, 2, 2), 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			core, plugin := newPair(t)
			before := openFiles(t)
			fds := make([]int, c.fds)
			for i := range fds {
				fds[i] = int(plugin.Fd())
			}
			if err := unix.Sendmsg(int(core.Fd()), c.msg, unix.UnixRights(fds...), nil, 0); err != nil {
				t.Fatal(err)
			}
			if got, err := ReceiveFiles(plugin, 5, 2, soon()); err == nil || got != nil {
				t.Errorf("ReceiveFiles = %v", got)
			}
			if after := openFiles(t); after != before {
				t.Errorf("%d descriptors leaked", after-before)
			}
		})
	}
}

func TestFilesEnd(t *testing.T) {
	core, plugin := newPair(t)
	if _, err := ReceiveFiles(plugin, 1, 1, time.Now().Add(20*time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing sent: %v", err)
	}
	// Half a batch, then the core goes: what came is closed.
	files := tempFiles(t, filesChunk+1)
	before := openFiles(t)
	msg := make([]byte, filesMessage)
	le := binary.LittleEndian
	le.PutUint32(msg, filesMagic)
	le.PutUint64(msg[8:], 1)
	le.PutUint32(msg[16:], 2)
	le.PutUint32(msg[20:], 1)
	if err := unix.Sendmsg(int(core.Fd()), msg, unix.UnixRights(int(files[0].Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	_ = core.Close()
	if _, err := ReceiveFiles(plugin, 1, 2, soon()); err == nil {
		t.Error("half a batch is taken for one")
	}
	if after := openFiles(t); after != before-1 { // core itself
		t.Errorf("%d descriptors leaked", after-before+1)
	}
	core, plugin = newPair(t)
	_ = plugin.Close()
	if err := SendFiles(core, 1, files); err == nil {
		t.Error("SendFiles to nobody succeeded")
	}
	if err := SendFiles(core, 1, make([]*os.File, maxFiles+1)); err == nil {
		t.Error("SendFiles took too many files")
	}
	if _, err := ReceiveFiles(core, 1, -1, soon()); err == nil {
		t.Error("ReceiveFiles took a negative number")
	}
	// Closing the connection ends a wait without a deadline.
	_, plugin = newPair(t)
	done := make(chan error)
	go func() {
		_, err := ReceiveFiles(plugin, 1, 1, time.Time{})
		done <- err
	}()
	_ = plugin.Close()
	if err := <-done; err == nil {
		t.Error("ReceiveFiles on a closed connection succeeded")
	}
}
