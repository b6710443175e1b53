package main

import (
	"math"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// maxLabel bounds a label's value, in bytes.
const maxLabel = 200

// family is a metric, whose series differ in their labels.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) family {
	return family{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) family {
	return family{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue}
}

// batch carries the series of one scrape. All of them pass through take, which
// is why there are never more than it was given room for.
type batch struct {
	out  chan<- prometheus.Metric
	room int // how many more series there may be

	sent    int
	refused int // for lack of room
	invalid int // without a usable name, labels or value
}

// take reserves room for n series that belong together.
func (b *batch) take(n int) bool {
	if n > b.room {
		b.refused += n
		return false
	}
	b.room -= n
	b.sent += n
	return true
}

// add sends a series, if there is room. Rates may be anything finite.
func (b *batch) add(f family, value float64, labels ...string) {
	if math.IsNaN(value) || math.IsInf(value, 0) || f.kind == prometheus.CounterValue && value < 0 {
		b.invalid++
		return
	}
	if !b.take(1) {
		return
	}
	m, err := prometheus.NewConstMetric(f.desc, f.kind, value, clean(labels)...)
	if err != nil {
		b.undo(1)
		return
	}
	b.out <- m
}

// addHistogram sends a histogram, if there is room: a series for each bucket,
// one more for the last bucket, sum and count.
func (b *batch) addHistogram(desc *prometheus.Desc, count uint64, sum float64, buckets map[float64]uint64, labels ...string) {
	n := len(buckets) + 3
	if !b.take(n) {
		return
	}
	m, err := prometheus.NewConstHistogram(desc, count, sum, buckets, clean(labels)...)
	if err != nil {
		b.undo(n)
		return
	}
	b.out <- m
}

// undo gives back the room of series that could not be made.
func (b *batch) undo(n int) {
	b.room += n
	b.sent -= n
	b.invalid += n
}

// clean makes labels short and valid UTF-8; the slice is its caller's alone.
func clean(labels []string) []string {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l[:min(len(l), maxLabel)], "")
	}
	return labels
}
