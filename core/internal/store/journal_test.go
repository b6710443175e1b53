package store

import (
	"fmt"
	"path/filepath"
	"testing"
)

func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, err := OpenJournal(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	write := func(c *JournalChange) {
		t.Helper()
		if err := j.Write(c); err != nil {
			t.Fatal(err)
		}
	}
	write(&JournalChange{Open: map[string][]byte{"a": []byte("1"), "b": []byte("2")}, Rest: map[string][]byte{"clock": []byte("x")}})
	write(&JournalChange{Open: map[string][]byte{"a": nil, "c": []byte("3")}, Audit: [][]byte{[]byte("ban")}})
	var past [][]byte
	for i := range maxPast + 50 {
		past = append(past, fmt.Append(nil, i))
	}
	write(&JournalChange{Past: past})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j, err = OpenJournal(path, Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	open, rest, err := j.Load()
	if err != nil || len(open) != 2 || string(open["b"]) != "2" || string(open["c"]) != "3" || string(rest["clock"]) != "x" {
		t.Errorf("%q, %q, %v", open, rest, err)
	}
	got, err := j.Past(1 << 20)
	if err != nil || len(got) != maxPast || string(got[0]) != fmt.Sprint(maxPast+49) || string(got[maxPast-1]) != "50" {
		t.Errorf("%d are kept, %v", len(got), err)
	}
	if audit, err := j.Audit(5); err != nil || len(audit) != 1 || string(audit[0]) != "ban" {
		t.Errorf("%q, %v", audit, err)
	}
	write(&JournalChange{Whole: true, Open: map[string][]byte{"d": []byte("4")}})
	if open, _, err = j.Load(); err != nil || len(open) != 1 || string(open["d"]) != "4" {
		t.Errorf("%q, %v", open, err)
	}
}
