package config

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/oschwald/maxminddb-golang/v2"
)

// Evidence is the evidence block.
type Evidence struct {
	Packets   int           // samples of an attack; 0: none are taken
	Keep      time.Duration // of its files
	MaxSize   uint64        // octets of all files together
	Directory string
	GeoIP     []string // files in MaxMind's format
	Range     hcl.Range
}

// Bounds and defaults of the evidence block.
const (
	DefaultPackets = 100
	maxPackets     = 10000
	defaultKeep    = 30 * 24 * time.Hour
	defaultMaxSize = 1 << 30
	maxGeoIP       = 8
)

// readEvidence reads the evidence block, which may be missing.
func (l *loader) readEvidence() {
	e := &l.conf.Evidence
	*e = Evidence{Packets: DefaultPackets, Keep: defaultKeep, MaxSize: defaultMaxSize, Directory: filepath.Join(l.conf.Daemon.StateDir, "evidence")}
	for _, blk := range l.blocks["evidence"] {
		b := l.open(blk, "the evidence block", nil, shape{attrs: []string{"packets", "keep", "max_size", "directory", "geoip"}})
		e.Range = blk.DefRange()
		if i, ok := b.one("packets"); ok {
			if n, ok := whole(i.Value, 0, maxPackets); ok {
				e.Packets = int(n)
			} else {
				l.errorf(i.at, "Invalid number", "%s is no number of packets: write a whole number from 1 to %d, or 0 for no samples at all.", i.text(), maxPackets)
			}
		}
		if d, ok := b.duration("keep"); ok {
			e.Keep = d
		}
		if n, ok := b.size("max_size"); ok {
			e.MaxSize = n
		}
		b.dirPath("directory", &e.Directory)
		e.GeoIP = b.geoFiles("geoip")
	}
}

// History is the history block.
type History struct {
	Keep    time.Duration // of attacks, since they began
	MaxSize uint64        // octets of the file
	Range   hcl.Range
}

// Bounds and defaults of the history block.
const (
	defaultHistory     = 400 * 24 * time.Hour
	defaultHistorySize = 1 << 30
	minHistorySize     = 4 << 20
)

// readHistory reads the history block, which may be missing.
func (l *loader) readHistory() {
	h := &l.conf.History
	*h = History{Keep: defaultHistory, MaxSize: defaultHistorySize}
	for _, blk := range l.blocks["history"] {
		b := l.open(blk, "the history block", nil, shape{attrs: []string{"keep", "max_size"}})
		h.Range = blk.DefRange()
		if d, ok := b.duration("keep"); ok {
			h.Keep = d
		}
		if n, ok := b.size("max_size"); ok && n < minHistorySize {
			l.errorf(b.attr("max_size").Expr.Range(), "Size out of range", "max_size takes 4MiB or more: a thousand attacks with their evidence have some 5 MB.")
		} else if ok {
			h.MaxSize = n
		}
	}
}

// geoFiles reads the names of databases, and looks whether they are there.
func (b body) geoFiles(name string) (out []string) {
	names, ats, n := b.strs(name)
	b.notEmpty(name, n)
	for i, s := range names {
		switch {
		case s == "":
			b.l.errorf(ats[i].at, "Invalid value", "%q is empty. Name a file in MaxMind's format (.mmdb), or remove it.", name)
		case i == maxGeoIP:
			b.l.errorf(ats[i].at, "Too many files", "More than %d files are named. One of countries and one of AS numbers are usual.", maxGeoIP)
			return out
		default:
			path := b.l.path(s)
			if err := checkGeo(path); err != nil {
				b.l.errorf(ats[i].at, "File cannot be read", "%v. Name a file in MaxMind's format (.mmdb), as GeoLite2-Country or GeoLite2-ASN.", err)
				continue
			}
			out = append(out, path)
		}
	}
	return out
}

// checkGeo reads the description at the end of a database.
func checkGeo(path string) error {
	r, err := maxminddb.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return r.Close()
}
