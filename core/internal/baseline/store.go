package baseline

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// The file is JSON in gzip: a week of a large network has some megabytes.
const (
	fileVersion = 1
	maxFile     = 256 << 20 // octets of JSON
)

type jsonFile struct {
	Version  int           `json:"version"`
	Began    time.Time     `json:"began"`
	Profiles []jsonProfile `json:"profiles"`
}

type jsonProfile struct {
	Counters []string             `json:"counters"`
	From     time.Time            `json:"from"`
	To       time.Time            `json:"to"`
	Seconds  float64              `json:"seconds"`
	Groups   map[string]jsonGroup `json:"hostgroups"`
}

type jsonGroup struct {
	All         jsonSet             `json:"all"`
	Total       jsonSet             `json:"total"`
	Hosts       map[string]jsonHost `json:"hosts"`
	HostSeconds float64             `json:"host_seconds"`
	Attacked    [2]float64          `json:"attack_seconds"`
	Most        int                 `json:"most"`
	Week        []jsonHour          `json:"week"`
}

// jsonHour is the largest rates of an hour of the week that was watched.
type jsonHour struct {
	Hour int           `json:"hour"`
	Most [2][2]float32 `json:"most"`
}

type jsonHost struct {
	Set      jsonSet    `json:"rates"`
	Seconds  float64    `json:"seconds"`
	Attacked [2]float64 `json:"attack_seconds"`
	Weight   float64    `json:"weight"`
}

type jsonSet struct {
	N      [2]uint64    `json:"n"`
	Series []jsonSeries `json:"series"`
}

type jsonSeries struct {
	Counter uint16      `json:"counter"`
	Unit    Unit        `json:"unit"`
	Dir     uint8       `json:"direction"`
	Max     float64     `json:"max"`
	Buckets [][2]uint32 `json:"buckets"`
}

// Save writes what is kept into a file, whole or not at all.
func (r *Recorder) Save(path string) error {
	r.mu.Lock()
	out := jsonFile{Version: fileVersion, Began: r.began}
	for _, p := range r.gens {
		out.Profiles = append(out.Profiles, p.toJSON())
	}
	r.mu.Unlock()
	if len(out.Profiles) == 0 {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	err = json.NewEncoder(z).Encode(out)
	err = errors.Join(err, z.Close(), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Load reads what an earlier run has saved; a file that is not there is
// nothing. What is damaged is an error, and nothing of it is kept.
func (r *Recorder) Load(path string, now time.Time) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var in jsonFile
	if err := json.NewDecoder(io.LimitReader(z, maxFile)).Decode(&in); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if in.Version != fileVersion {
		return fmt.Errorf("%s: it is of version %d, not %d", path, in.Version, fileVersion)
	}
	var gens []*Profile
	for i := range in.Profiles {
		p, err := in.Profiles[i].profile()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		gens = append(gens, p)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gens, r.began = gens, in.Began
	r.forget(now)
	return nil
}

func (p *Profile) toJSON() jsonProfile {
	out := jsonProfile{Counters: p.Counters, From: p.From, To: p.To, Seconds: p.Seconds, Groups: map[string]jsonGroup{}}
	for name, g := range p.Groups {
		j := jsonGroup{
			All: g.All.toJSON(), Total: g.Total.toJSON(), Hosts: map[string]jsonHost{},
			HostSeconds: g.HostSeconds, Attacked: g.Attacked, Most: g.Most,
		}
		for hour, most := range g.Week {
			if g.Week.watched(hour) {
				j.Week = append(j.Week, jsonHour{hour, most})
			}
		}
		for k, h := range g.Hosts {
			j.Hosts[k.String()] = jsonHost{h.toJSON(), h.Seconds, h.Attacked, h.weight}
		}
		out.Groups[name] = j
	}
	return out
}

func (s *Set) toJSON() jsonSet {
	out := jsonSet{N: s.N}
	for k, h := range s.Series {
		j := jsonSeries{Counter: k.Counter, Unit: k.Unit, Dir: k.Dir, Max: h.max}
		for _, b := range h.buckets {
			j.Buckets = append(j.Buckets, [2]uint32{uint32(b.at), b.n})
		}
		out.Series = append(out.Series, j)
	}
	return out
}

// errNonsense says that a file holds what Save never writes.
var errNonsense = errors.New("it holds what cannot be")

func (j *jsonProfile) profile() (*Profile, error) {
	p := NewProfile(j.Counters)
	p.From, p.To, p.Seconds = j.From, j.To, j.Seconds
	for name := range j.Groups {
		from := j.Groups[name]
		g := p.group(name)
		if g == nil || !sensible(from.HostSeconds) {
			return nil, errNonsense
		}
		g.HostSeconds, g.Attacked, g.Most = from.HostSeconds, from.Attacked, from.Most
		for _, h := range from.Week {
			if h.Hour < 0 || h.Hour >= len(g.Week) {
				return nil, errNonsense
			}
			g.Week[h.Hour] = h.Most
		}
		if err := errors.Join(from.All.read(&g.All, p), from.Total.read(&g.Total, p)); err != nil {
			return nil, err
		}
		for text := range from.Hosts {
			jh := from.Hosts[text]
			at, err := netip.ParsePrefix(text)
			if err != nil || p.hosts >= MaxHosts || !sensible(jh.Seconds) {
				return nil, errNonsense
			}
			h := &Host{Seconds: jh.Seconds, Attacked: jh.Attacked, weight: jh.Weight}
			if err := jh.Set.read(&h.Set, p); err != nil {
				return nil, err
			}
			g.Hosts[at] = h
			p.hosts++
		}
	}
	return p, nil
}

func sensible(v float64) bool { return v >= 0 && !math.IsInf(v, 0) }

func (j *jsonSet) read(s *Set, p *Profile) error {
	s.N = j.N
	for _, x := range j.Series {
		k := Series{x.Counter, x.Unit, x.Dir}
		if int(x.Counter) >= len(p.Counters) || x.Unit > FPS || x.Dir > 1 || !sensible(x.Max) {
			return errNonsense
		}
		h := &Hist{max: x.Max}
		for i, b := range x.Buckets {
			if b[0] > largest || i > 0 && uint16(b[0]) <= h.buckets[i-1].at {
				return errNonsense
			}
			h.buckets = append(h.buckets, bucket{uint16(b[0]), b[1]})
			h.n += uint64(b[1])
		}
		if s.Series == nil {
			s.Series = map[Series]*Hist{}
		}
		s.Series[k] = h
	}
	return nil
}
