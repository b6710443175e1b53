package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"sync"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin"
)

// hostileLog keeps the lines of a log.
type hostileLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *hostileLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *hostileLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text.Bytes()[max(0, l.text.Len()-6000):])
}

// of returns the lines about a block.
func (l *hostileLog) of(instance string) (out []map[string]any) {
	l.mu.Lock()
	text := bytes.Clone(l.text.Bytes())
	l.mu.Unlock()
	for line := range bytes.Lines(text) {
		if !bytes.Contains(line, []byte(instance)) {
			continue
		}
		m := map[string]any{}
		if json.Unmarshal(line, &m) == nil {
			out = append(out, m)
		}
	}
	return out
}

// hostileRow is one plugin that misbehaves and what is to become of it.
type hostileRow struct {
	kind, mode string
	sdk        bool   // it is made with the SDK
	body       string // of its block
	process    string // further lines of process
	says       string // regexp: the reason of one of its states
	logs       string // regexp: a line of log, its message and error
	fate       fate
	ghost      bool // it leaves a process that has left the group and lost our mark
}

// fate is what becomes of a hostile plugin.
type fate int

const (
	replaced fate = iota // started again and again
	stays                // it does no harm and goes on
	givenUp              // it refused its configuration, and is not started again
)

// instance must be no part of another's.
func (r hostileRow) instance() string { return "x_" + r.kind + "_" + r.mode + "_x" }

func (r hostileRow) program() string {
	if r.sdk {
		return "honest"
	}
	return "hostile"
}

// shown tells whether all has been said, and done, that the row wants.
func (r hostileRow) shown(b *hostileBed) bool {
	says, logs, launches := r.says == "", r.logs == "", 0
	saysRE, logsRE := regexp.MustCompile(r.says), regexp.MustCompile(r.logs)
	for _, line := range b.log.of(r.instance()) {
		says = says || saysRE.MatchString(fmt.Sprint(line["reason"]))
		logs = logs || logsRE.MatchString(fmt.Sprint(line["@message"], " ", line["error"], " ", line["count"]))
		if line["@message"] == "plugin is launching" {
			launches++
		}
	}
	return says && logs && (r.fate != replaced || launches > 1)
}

// check holds the state that a row has come to against its fate.
func (r hostileRow) check(b *hostileBed) {
	for _, p := range b.plugins() {
		if p.Block.Instance != r.instance() {
			continue
		}
		switch s := p.Status; {
		case r.fate == stays && (s.State != plugin.Running || s.Launches != 1),
			r.fate == givenUp && (s.State != plugin.Failed || s.Launches != 2),
			r.fate == replaced && s.State.Final():
			b.t.Errorf("%s: %s after %d launches: %s", r.instance(), s.State, s.Launches, s.Message)
		}
		return
	}
	b.t.Errorf("%s is not among the plugins", r.instance())
}
