package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// judge is one worker's Lua state.
type judge struct {
	f      *filter
	host   *host
	script *script // that the engine was made of, or could not be
	engine engine
	busy   atomic.Uint64 // odd while a batch is judged
}

// Exporters is told who knows the addresses of exporters.
func (j *judge) Exporters(address func(index uint32) netip.Addr) { j.host.exporter = address }

// load makes an engine of the script in force, unless that is the one it has.
func (j *judge) load() error {
	s := j.f.script.Load()
	if s == j.script {
		return nil
	}
	j.script = s
	e, err := s.open(context.Background(), &j.f.config, j.host)
	if err != nil {
		return err
	}
	if j.engine != nil {
		j.engine.close()
	}
	j.engine = e
	return nil
}

// Judge has the script judge a batch. A record for which it fails follows
// on_failure, the others do not.
func (j *judge) Judge(batch []traffic.Record) error {
	j.busy.Add(1)
	defer j.busy.Add(1)
	if err := j.load(); err != nil { // it was tried before: only memory can be short
		j.f.errors.note(err.Error())
	}
	var last error
	for first := 0; first < len(batch); {
		at, err := j.engine.run(batch, first)
		if err == nil {
			break
		}
		last = err
		j.f.errors.note(err.Error())
		batch[at].Verdict = traffic.VerdictUnjudged
		first = at + 1
	}
	if last == nil {
		return nil
	}
	return &sdk.PartialError{Err: last}
}

// Close frees the state.
func (j *judge) Close() error {
	j.f.mu.Lock()
	delete(j.f.judges, j)
	j.f.mu.Unlock()
	j.engine.close()
	return nil
}

// strikes is how often a judge was seen in the same batch.
type strikes struct {
	batch uint64
	n     int
}

// looks is how often the guard looks at a batch within its deadline. It counts
// looks, not time: a process that was stopped for a while is not overdue.
const looks = 4

// guard ends the process when a batch takes too long, which nothing else ends,
// or when the scripts hold too much.
func (f *filter) guard(ctx context.Context) {
	tick := time.NewTicker(f.Deadline / looks)
	defer tick.Stop()
	base := heap()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		f.mu.Lock()
		n := len(f.judges)
		for j, s := range f.judges {
			if batch := j.busy.Load(); batch%2 == 1 && batch == s.batch {
				s.n++
			} else {
				s.batch, s.n = batch, 0
			}
			if s.n >= looks {
				f.log.Error("a batch has not come to its end: the process gives up", "script", f.Script, "deadline", f.Deadline)
				exit()
			}
		}
		f.mu.Unlock()
		if held := heap() - base; held > int64(f.Memory)*int64(n+1) {
			f.log.Error("the script holds too much memory: the process gives up", "script", f.Script, "held", fmt.Sprintf("%d MiB", held>>20))
			exit()
		}
	}
}

// exit ends the process; tests look whether it would.
var exit = func() { os.Exit(1) }

// heap is how many octets of Go's memory are in use, those of gopher-lua's
// states among them.
func heap() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
