package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/capfile"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

func TestValidate(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	header := classic(t)
	good := file("good", header, 0o600)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(strange(t)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	gz := file("zipped", zipped.Bytes(), 0o600)
	text := file("text.pcap", []byte("no capture at all"), 0o600)
	empty := file("empty.pcap", nil, 0o600)
	for name, c := range map[string]struct {
		cfg  config
		path string
		text string
	}{
		"good":      {config{Files: []string{good, gz}, Speed: 0.5, Length: lengthFrame}, "", ""},
		"no files":  {config{Speed: 1, Length: lengthIP}, "files", "at least one"},
		"too many":  {config{Files: slicesOf(good, capfile.MaxFiles+1), Speed: 1, Length: lengthIP}, "files", "mergecap"},
		"speed":     {config{Files: []string{good}, Speed: 0, Length: lengthIP}, "speed", "twice as fast"},
		"length":    {config{Files: []string{good}, Speed: 1, Length: "ipv6"}, "length", `"frame"`},
		"absent":    {config{Files: []string{good, dir + "/none"}, Speed: 1, Length: lengthIP}, "files[1]", "there is no file"},
		"directory": {config{Files: []string{dir}, Speed: 1, Length: lengthIP}, "files[0]", "a directory"},
		"text":      {config{Files: []string{good, good, text}, Speed: 1, Length: lengthIP}, "files[2]", "neither pcap nor pcapng"},
		"empty":     {config{Files: []string{empty}, Speed: 1, Length: lengthIP}, "files[0]", "too short"},
	} {
		err := (&capture{cfg: c.cfg}).Validate(t.Context())
		if c.path == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var ds diag.Diagnostics
		if !errors.As(err, &ds) || len(ds) != 1 || ds[0].Path.String() != c.path || !strings.Contains(ds[0].Detail, c.text) {
			t.Errorf("%s: %v, want a complaint at %s", name, err, c.path)
		}
	}
}

func slicesOf(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}
