package baseline

import (
	"fmt"
	"net/netip"
	"time"
)

// Suggestion is limits for hostgroups, and the evidence for them.
type Suggestion struct {
	From    time.Time         `json:"from"`
	To      time.Time         `json:"to"`
	Seconds float64           `json:"seconds"` // watched
	Source  string            `json:"source"`  // what was watched, for people
	Bursts  bool              `json:"bursts"`  // burst rules were tried on the input; else only averages are known
	Notes   []string          `json:"notes"`   // what else is to be known
	Thin    []string          `json:"thin"`    // why the evidence is too thin to act on; empty: it is not
	Groups  []GroupSuggestion `json:"hostgroups"`
	Unseen  []string          `json:"unseen"` // hostgroups without traffic, left as they are
}

// GroupSuggestion is the limits of one hostgroup.
type GroupSuggestion struct {
	Name       string      `json:"hostgroup"`
	Hosts      int         `json:"hosts"`           // with traffic at a time, at most
	HostDays   float64     `json:"host_days"`       // watched
	Attacked   [2]float64  `json:"attack_seconds"`  // hosts × time left out, incoming and outgoing
	Thresholds []Threshold `json:"thresholds"`      //
	Own        []OwnGroup  `json:"own_hostgroups"`  // hosts that need limits of their own
	NotSeen    []string    `json:"counters_unseen"` // that were counted and had no traffic
	Thin       []string    `json:"thin"`
	Rates      []Rates     `json:"rates"`   // of each host
	Total      []Rates     `json:"total"`   // of all together
	Busiest    []HostRates `json:"busiest"` // hosts, the largest rate first
	Week       []HourRates `json:"week"`    // the largest rates of all together, by hour of the week that was watched
}

// HourRates is the largest rates of an hour of the week, incoming and outgoing.
type HourRates struct {
	Hour string     `json:"hour"` // "Mon 13", UTC
	PPS  [2]float32 `json:"pps"`
	BPS  [2]float32 `json:"bps"`
}

var days = [...]string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}

// hours lists the hours of the week that were watched.
func (w *Week) hours() []HourRates {
	out := []HourRates{}
	for i := range w {
		if r := w[i]; w.watched(i) {
			out = append(out, HourRates{
				fmt.Sprintf("%s %02d", days[i/24], i%24),
				[2]float32{max(r[0][0], 0), max(r[1][0], 0)},
				[2]float32{max(r[0][1], 0), max(r[1][1], 0)},
			})
		}
	}
	return out
}

// unwatched lists the days of the week of which less than half was watched.
func (w *Week) unwatched() (out []string) {
	for day, name := range days {
		n := 0
		for h := range 24 {
			if w.watched(day*24 + h) {
				n++
			}
		}
		if n < 12 {
			out = append(out, name)
		}
	}
	return out
}

// Rates is how one rate was distributed.
type Rates struct {
	Direction string  `json:"direction"`
	Counter   string  `json:"counter"`
	Unit      string  `json:"unit"`
	P50       float64 `json:"p50"`
	P99       float64 `json:"p99"`
	P999      float64 `json:"p99_9"`
	Max       float64 `json:"max"`
	Samples   uint64  `json:"samples"`
}

// HostRates is how the rates of one host were distributed.
type HostRates struct {
	Host     netip.Prefix `json:"host"`
	Seconds  float64      `json:"seconds"`        // watched
	Attacked [2]float64   `json:"attack_seconds"` // left out, incoming and outgoing
	Rates    []Rates      `json:"rates"`
}

// mostBusiest is how many hosts of a hostgroup are told of one by one.
const mostBusiest = 10

// OwnGroup is a host far above the others of its hostgroup.
type OwnGroup struct {
	Name       string       `json:"hostgroup"`
	Host       netip.Prefix `json:"host"`
	HostDays   float64      `json:"host_days"`
	Thresholds []Threshold  `json:"thresholds"` // in which it differs
}

// Threshold is the limits on one counter in one direction.
type Threshold struct {
	Name      string  `json:"threshold"`
	Scope     string  `json:"scope"` // host or hostgroup
	Direction string  `json:"direction"`
	Counter   string  `json:"counter"`
	Limits    []Limit `json:"limits"`
}

// Limit is one number and why.
type Limit struct {
	Unit    string       `json:"unit"`
	Limit   float64      `json:"limit"`
	P50     float64      `json:"p50"` // of all samples: of each host, or of the hostgroup together
	P99     float64      `json:"p99"`
	P999    float64      `json:"p99_9"`
	Max     float64      `json:"max"`
	Samples uint64       `json:"samples"`
	Hosts   int          `json:"hosts"`            // that had any of it
	Busiest netip.Prefix `json:"busiest,omitzero"` // the host with the largest p99.9
	Top     float64      `json:"busiest_p99_9"`    //
	Rule    string       `json:"rule"`
	Fires   int          `json:"fires"`            // in the input, or samples above the limit
	AtMost  float64      `json:"at_most"`          // false positives per host (hostgroup) and day, 95 % upper bound
	Days    float64      `json:"watched"`          // host-days (days) in which they were counted
	Raised  float64      `json:"before,omitempty"` // the limit before bursts of the input had it raised
}

// Expect is told how many false positives a limit had when it was tried.
func (l *Limit) Expect(fires uint64) { l.expect(l.Days, fires) }

// EachLimit gives all limits.
func (s *Suggestion) EachLimit(give func(*Limit)) {
	each := func(list []Threshold) {
		for i := range list {
			for j := range list[i].Limits {
				give(&list[i].Limits[j])
			}
		}
	}
	for i := range s.Groups {
		each(s.Groups[i].Thresholds)
		for j := range s.Groups[i].Own {
			each(s.Groups[i].Own[j].Thresholds)
		}
	}
}
