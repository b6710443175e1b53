package plugin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
)

const (
	maxLine    = 64 << 10 // bytes of a line; longer ones come in pieces
	maxText    = 4 << 10  // bytes of a message or field that reach the log
	maxKept    = 1 << 10  // bytes of a line kept for error messages
	maxFields  = 32       // fields of one line
	keptLines  = 20
	panicLines = 64
)

// output takes what a plugin writes to its stderr (and, after the handshake,
// to what it thinks is its stdout) and logs it by line: structured lines with
// their level and fields, others by their prefix. It never fails, whatever the
// bytes are, keeps at most a line in memory and limits how much is logged.
type output struct {
	log   hclog.Logger
	own   map[string]string // fields that every line of log has
	mu    sync.Mutex
	limit *limiter
	kept  []string // the newest lines, oldest first
	crash []string // of a panic or fatal error, from its first line
}

func newOutput(log hclog.Logger, limit *limiter) *output {
	o := &output{log: log, limit: limit, own: map[string]string{}}
	for own := range slices.Chunk(log.ImpliedArgs(), 2) {
		o.own[fmt.Sprint(own[0])] = fmt.Sprint(own[len(own)-1])
	}
	limit.report = func(cause string, n int) {
		log.Warn("lines of plugin output left out", "count", n, "like", cause)
	}
	return o
}

// stream is one of the streams that end in an output.
type stream struct {
	out  *output
	line []byte
}

func (o *output) stream() *stream { return &stream{out: o} }

// Write takes bytes that end anywhere. It never returns an error.
func (s *stream) Write(p []byte) (int, error) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		room := maxLine - len(s.line)
		part := p[:min(room, len(p))]
		if end := bytes.IndexByte(part, '\n'); end >= 0 {
			s.line = append(s.line, part[:end]...)
			p = p[end+1:]
			s.flush()
			continue
		}
		s.line = append(s.line, part...)
		p = p[len(part):]
		if len(s.line) == maxLine {
			s.flush()
		}
	}
	return n, nil
}

// take is Write for those who hand bytes on until they hear false.
func (s *stream) take(p []byte) bool {
	_, _ = s.Write(p)
	return true
}

// end takes what is left without a newline.
func (s *stream) end() {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.flush()
}

func (s *stream) flush() {
	if line := bytes.TrimRight(s.line, "\r \t"); len(line) > 0 {
		s.out.take(line)
	}
	s.line = s.line[:0]
}

// end logs what was left out.
func (o *output) end() { o.limit.flush() }

// last returns the newest lines, oldest first.
func (o *output) last() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.kept...)
}

// panicked returns the first lines of a panic or fatal error, nil without one.
func (o *output) panicked() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.crash...)
}

func (o *output) take(line []byte) {
	if o.takeTrace(line) {
		return
	}
	if !o.limit.allow(line) {
		o.keep(clean(line, maxKept))
		return
	}
	if entry, ok := parseEntry(line, o.own); ok {
		o.keep(fmt.Sprintf("[%s] %s", strings.ToUpper(entry.level.String()), cut(entry.message, maxKept)))
		o.log.Log(entry.level, entry.message, entry.fields...)
		return
	}
	text := clean(line, maxText)
	o.keep(cut(text, maxKept))
	level, rest := prefixLevel(text)
	switch {
	case level != hclog.NoLevel:
		o.log.Log(level, rest)
	case len(o.crash) > 0:
		o.log.Error(text)
	default:
		o.log.Info(text)
	}
}

// crashes are the beginnings of what Go's runtime says of a program's end.
var crashes = [][]byte{[]byte("panic: "), []byte("fatal error: "), []byte("SIGABRT: "), []byte("SIGSEGV: "), []byte("SIGBUS: ")}

// takeTrace takes the first lines of a panic or fatal error, which are told
// once, when the process has ended; what was logged before does not limit them.
func (o *output) takeTrace(line []byte) bool {
	begins := false
	for _, first := range crashes {
		begins = begins || bytes.HasPrefix(line, first)
	}
	if line[0] == '{' || len(o.crash) == 0 && !begins || len(o.crash) == panicLines {
		return false
	}
	text := clean(line, maxKept)
	o.keep(text)
	o.crash = append(o.crash, text)
	return true
}

func (o *output) keep(line string) {
	if len(o.kept) == keptLines {
		copy(o.kept, o.kept[1:])
		o.kept = o.kept[:keptLines-1]
	}
	o.kept = append(o.kept, line)
}

var levelPrefixes = []struct {
	text  string
	level hclog.Level
}{
	{"[TRACE]", hclog.Trace},
	{"[DEBUG]", hclog.Debug},
	{"[INFO]", hclog.Info},
	{"[WARN]", hclog.Warn},
	{"[WARNING]", hclog.Warn},
	{"[ERROR]", hclog.Error},
}

func prefixLevel(text string) (hclog.Level, string) {
	for _, prefix := range levelPrefixes {
		if rest, ok := strings.CutPrefix(text, prefix.text); ok {
			return prefix.level, strings.TrimSpace(rest)
		}
	}
	return hclog.NoLevel, text
}

// entry is one line of hclog's JSON format.
type entry struct {
	level   hclog.Level
	message string
	fields  []any
}

// parseEntry takes a JSON object with a message or a level; values of any type
// are taken as they come.
func parseEntry(line []byte, own map[string]string) (entry, bool) {
	if line[0] != '{' {
		return entry{}, false
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	var object map[string]any
	if decoder.Decode(&object) != nil || decoder.More() {
		return entry{}, false
	}
	message, hasMessage := object["@message"]
	level, hasLevel := object["@level"]
	if !hasMessage && !hasLevel {
		return entry{}, false
	}
	e := entry{level: hclog.LevelFromString(render(level))}
	if e.level == hclog.NoLevel || e.level == hclog.Off {
		e.level = hclog.Info
	}
	if hasMessage {
		e.message = render(message)
	}
	e.fields = fields(object, own)
	return e, true
}

// fields returns keys and values in the order of their keys, without hclog's
// own and without repeating what every line of the log says.
func fields(object map[string]any, own map[string]string) []any {
	keys := make([]string, 0, len(object))
	for key := range object {
		if key != "" && key[0] != '@' {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	keys = keys[:min(len(keys), maxFields)]
	list := make([]any, 0, 2*len(keys))
	for _, key := range keys {
		name, value := clean([]byte(key), 64), render(object[key])
		switch name {
		case "kind", "plugin", "instance", "pid":
			if value == own[name] {
				continue
			}
			name = "plugin_" + name // the log's own say who speaks
		}
		list = append(list, name, value)
	}
	return list
}

// render turns any JSON value into text.
func render(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return clean([]byte(v), maxText)
	case json.Number:
		return clean([]byte(v), 64)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "unreadable value"
	}
	return clean(text, maxText)
}

// clean makes text that cannot forge lines or steer a terminal: valid UTF-8
// without control characters, cut to limit bytes.
func clean(text []byte, limit int) string {
	short := cut(string(text[:min(len(text), limit+utf8.UTFMax)]), limit)
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return '?'
		}
		return r
	}, short)
}

// cut shortens text to limit bytes, at a character's boundary.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit
	for end > 0 && !utf8.RuneStart(text[end]) && limit-end < utf8.UTFMax {
		end--
	}
	return text[:end]
}

// limits of plugin output, per process.
const (
	linesPerSecond = 100
	lineBurst      = 200
	limitWindow    = time.Minute
	maxCauses      = 64
)
