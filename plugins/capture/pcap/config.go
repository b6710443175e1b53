package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

const (
	lengthIP    = "ip"
	lengthFrame = "frame"

	maxFiles = 256 // all are open at once
	maxSpeed = 1e6
)

// config is the plugin's block.
type config struct {
	Files  []string `hcl:"files" doc:"capture files, played together in order of time"`
	Speed  float64  `hcl:"speed,optional" doc:"2 plays twice as fast as recorded (run only); 1 unless set"`
	Length string   `hcl:"length,optional" doc:"octets that count: ip (the IP header's length, unless set) or frame"`
}

// Validate checks what the schema cannot, the beginning of each file too.
func (c *capture) Validate(context.Context) error {
	var ds diag.Diagnostics
	root := diag.Path{}
	if n := len(c.cfg.Files); n == 0 {
		ds = append(ds, diag.Errorf(root.Attr("files"), "No files", `Name at least one capture file: files = ["attack.pcap"].`))
	} else if n > maxFiles {
		ds = append(ds, diag.Errorf(root.Attr("files"), "Too many files",
			"%d files are more than %d, which are all open at once. Join some with mergecap.", n, maxFiles))
	}
	if s := c.cfg.Speed; !(s > 0 && s <= maxSpeed) {
		ds = append(ds, diag.Errorf(root.Attr("speed"), "Speed out of range",
			"%v is not above 0 and at most %v. 1 plays a file as fast as it was recorded, 2 twice as fast.", s, maxSpeed))
	}
	if l := c.cfg.Length; l != lengthIP && l != lengthFrame {
		ds = append(ds, diag.Errorf(root.Attr("length"), "Unknown length",
			`%q is not a length. Write "ip" to count the IP header's length, "frame" to count the frame's on the wire.`, l))
	}
	for i, name := range c.cfg.Files[:min(len(c.cfg.Files), maxFiles)] {
		if summary, err := checkFile(name); err != nil {
			ds = append(ds, diag.Errorf(root.Attr("files").Index(i), summary, "%v.", err))
		}
	}
	return ds.Err()
}

// checkFile reads the beginning of a file.
func checkFile(name string) (summary string, err error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "No such file", errors.New("there is no file " + name)
	case err != nil:
		return "File cannot be read", err
	case !info.Mode().IsRegular(): // opening a pipe would block, reading it would eat it
		return "Not a file", errors.New(name + " is a directory, a pipe or a device; only plain files are read")
	}
	r, err := openFile(name)
	if errors.As(err, new(*fs.PathError)) {
		return "File cannot be read", err
	}
	if err != nil {
		return "Not a capture file that can be read", err
	}
	r.close()
	return "", nil
}
