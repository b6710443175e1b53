package service

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzTidyLines: whatever a plugin says, nobody can take it for two messages,
// and no terminal for a command.
func FuzzTidyLines(f *testing.F) {
	for _, seed := range []string{
		"[INFO]  fastnetmon: fine: a=1\n", "x\n[ERROR] forged\n", "\x1b[2J\x9b\xc2\x9b", "\n\n\n", "a\n  | b\n", "ä\xc3", "\x00\r\t\x7f",
		strings.Repeat("\n", maxLine), strings.Repeat("ä", maxLine), strings.Repeat("\xff", 2*maxLine),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		before := string(p)
		out := tidyLines(p)
		if string(p) != before {
			t.Fatal("the input was changed: it is the formatter's buffer")
		}
		if !utf8.Valid(out) || len(out) > maxLine+8 {
			t.Fatalf("%d bytes, valid: %t", len(out), utf8.Valid(out))
		}
		for i, row := range strings.Split(string(out), "\n") {
			if i > 0 && row != "" && row[0] != ' ' {
				t.Fatalf("line %d is %q", i, row)
			}
			if strings.ContainsFunc(row, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
				t.Fatalf("control character in %q", row)
			}
		}
	})
}
