package main

import (
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/pcapfilter"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
	"github.com/fastnetmon-go/fastnetmon/sdk/verdict"
)

type config struct {
	Expression string `hcl:"expression" doc:"what a record must match, as in tcpdump (pcap-filter(7))"`
	Then       string `hcl:"then,optional" doc:"what becomes of a record that matches: keep (all others are dropped), drop or mark"`
	Class      *int   `hcl:"class,optional" doc:"with mark: the class, 0 to 63, which a counter may ask for"`
}

// filter is one compiled expression, which all workers share.
type filter struct {
	program *pcapfilter.Program
	then    verdict.Then
}

func newFilter(c config, _ sdk.Env) (*filter, error) {
	attr := diag.Path{}.Attr
	then, ds := verdict.Read(c.Then, c.Class)
	if strings.TrimSpace(c.Expression) == "" {
		ds = append(ds, diag.Errorf(attr("expression"), "Empty expression", "An empty expression matches everything. Write a condition, or remove the filter."))
	}
	program, err := pcapfilter.Compile(c.Expression)
	if err != nil {
		ds = append(ds, pcapfilter.Complaint(err, attr("expression")))
	}
	if ds.HasErrors() {
		return nil, ds
	}
	return &filter{program, then}, nil
}

// NewWorker makes the judge of one capture worker.
func (f *filter) NewWorker() (sdk.Judge, error) { return f, nil }

// Judge tries the expression on every record.
func (f *filter) Judge(batch []traffic.Record) error {
	then := f.then
	for i := range batch {
		r := &batch[i]
		if f.program.Match(r) {
			r.Class |= then.Class
			r.Verdict = max(r.Verdict, then.Match)
		} else {
			r.Verdict = max(r.Verdict, then.Others)
		}
	}
	return nil
}
