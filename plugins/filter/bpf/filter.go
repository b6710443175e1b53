package main

import (
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/pcapfilter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Values of then.
const (
	thenKeep = "keep"
	thenDrop = "drop"
	thenMark = "mark"
)

const maxClasses = 64

type config struct {
	Expression string `hcl:"expression" doc:"what a record must match, as in tcpdump (pcap-filter(7))"`
	Then       string `hcl:"then,optional" doc:"what becomes of a record that matches: keep (all others are dropped), drop or mark"`
	Class      *int   `hcl:"class,optional" doc:"with mark: the class, 0 to 63, which a counter may ask for"`
}

// filter is one compiled expression, which all workers share.
type filter struct {
	program       *pcapfilter.Program
	class         uint64          // of records that match
	match, others traffic.Verdict // of records that do and do not
}

func newFilter(c config, _ sdk.Env) (*filter, error) {
	ds := c.check()
	program, err := pcapfilter.Compile(c.Expression)
	if err != nil {
		ds = append(ds, pcapfilter.Complaint(err, diag.Path{}.Attr("expression")))
	}
	if ds.HasErrors() {
		return nil, ds
	}
	f := &filter{program: program}
	switch c.Then {
	case thenKeep:
		f.others = traffic.VerdictDrop
	case thenDrop:
		f.match = traffic.VerdictDrop
	case thenMark:
		f.class = 1 << *c.Class
	}
	return f, nil
}

func (c *config) check() (ds diag.Diagnostics) {
	attr := diag.Path{}.Attr
	if strings.TrimSpace(c.Expression) == "" {
		ds = append(ds, diag.Errorf(attr("expression"), "Empty expression", "An empty expression matches everything. Write a condition, or remove the filter."))
	}
	switch c.Then {
	case thenKeep, thenDrop, thenMark:
	default:
		ds = append(ds, diag.Errorf(attr("then"), "Unknown value", "then is %q; write %q, %q or %q.", c.Then, thenKeep, thenDrop, thenMark))
	}
	switch {
	case c.Then == thenMark && c.Class == nil:
		ds = append(ds, diag.Errorf(attr("then"), "No class", "With then = %q the filter needs a class. Write class = 0 or another number up to %d.", thenMark, maxClasses-1))
	case c.Then != thenMark && c.Class != nil:
		ds = append(ds, diag.Errorf(attr("class"), "Class without effect", "Records get a class only with then = %q. Write that, or remove class.", thenMark))
	case c.Class != nil && (*c.Class < 0 || *c.Class >= maxClasses):
		ds = append(ds, diag.Errorf(attr("class"), "Invalid class", "%d is no class; there are 0 to %d.", *c.Class, maxClasses-1))
	}
	return ds
}

// NewWorker makes the judge of one capture worker.
func (f *filter) NewWorker() (sdk.Judge, error) { return f, nil }

// Judge tries the expression on every record.
func (f *filter) Judge(batch []traffic.Record) error {
	for i := range batch {
		r := &batch[i]
		if f.program.Match(r) {
			r.Class |= f.class
			r.Verdict = max(r.Verdict, f.match)
		} else {
			r.Verdict = max(r.Verdict, f.others)
		}
	}
	return nil
}
