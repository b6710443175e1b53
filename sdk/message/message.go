// Package message turns events into what people and other programs read, by
// templates of the operator's (text/template).
//
// A template's data is the event as its JSON form has it: {{.target}},
// {{.peak_pps}}, {{range .thresholds_crossed}}. Fields that the JSON form leaves
// out are there and empty: suspended, lifted, evidence, summary, mitigation. Beside
// them are title (the event in a line), text (the report of package report; of a
// mitigation before it what has become of that), key (the same for every copy of one
// event, and for no other event) and variables (what the configuration gives the
// template). A name that does not exist is an error.
//
// Numbers keep the digits of the JSON form. Functions, beside those of
// text/template:
//
//	json V        V as JSON, with quotes where it is a string
//	rate V UNIT   a number for people: rate .value .unit, rate .peak_pps "pps"
//	percent V     a share, 0 … 1, as 42 %
//	after D T     the time T and the duration D: after "24h" .time
//	cut N S       at most N characters of S
package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/report"
)

// MaxSize bounds what a template may make of an event, in octets.
const MaxSize = 1 << 20

// Template makes a message of an event. Use Parse.
type Template struct {
	t         *template.Template
	variables map[string]string
}

// Parse reads a template. It may use the variables, and no others.
func Parse(text string, variables map[string]string) (*Template, error) {
	t, err := template.New("template").Option("missingkey=error").Funcs(functions).Parse(text)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	if variables == nil {
		variables = map[string]string{}
	}
	return &Template{t, variables}, nil
}

// Render makes the message of an event.
func (t *Template) Render(e *sdk.Event) ([]byte, error) {
	data, err := Data(e)
	if err != nil {
		return nil, err
	}
	data["variables"] = t.variables
	var out limited
	if err := t.t.Execute(&out, data); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	return out.b.Bytes(), nil
}

// Check renders an event of each kind, so that a mistake in a template is found
// before there is an attack. accept, if not nil, judges what comes out.
func (t *Template) Check(accept func([]byte) error) error {
	for _, e := range Samples() {
		b, err := t.Render(&e)
		if err == nil && accept != nil {
			err = accept(b)
		}
		if err != nil {
			return fmt.Errorf("with a sample of %s: %w", e.Type, err)
		}
	}
	return nil
}

// Data is the data of a template, without variables.
func Data(e *sdk.Event) (map[string]any, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("cannot write attack %s as JSON: %w", e.ID, err)
	}
	data := map[string]any{"suspended": "", "lifted": false, "evidence": nil, "summary": nil, "mitigation": nil}
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber()
	if err := decoder.Decode(&data); err != nil {
		return nil, err
	}
	data["title"], data["text"], data["key"] = Title(e), Text(e), e.Key()
	return data, nil
}

// Title is an event in a line, without control characters.
func Title(e *sdk.Event) string {
	what := e.AttackType
	if e.Label != "" {
		what = e.Label
	}
	if what == "" {
		what = "attack"
	}
	var s string
	switch {
	case e.Type == sdk.MitigationChanged && e.Mitigation != nil:
		m := e.Mitigation
		return Line(fmt.Sprintf("%s: %s is %s: %s", sdk.TargetText(m.Target), m.Action, m.State, m.Cause))
	case e.Summary != nil:
		s = fmt.Sprintf("%d attacks (%d going on) in %s", e.Summary.Attacks, e.Summary.Open, e.TargetName())
		if !e.Target.IsValid() {
			s = fmt.Sprintf("%d attacks (%d going on)", e.Summary.Attacks, e.Summary.Open)
		}
	case e.Type == sdk.AttackEnded:
		s = fmt.Sprintf("%s: the %s %s is over, %s at most", e.TargetName(), e.Direction, what, rate(e.PeakPPS, "pps"))
	case e.Type == sdk.AttackUpdated:
		s = fmt.Sprintf("%s: %s %s goes on, %s", e.TargetName(), e.Direction, what, rate(e.PeakPPS, "pps"))
	default:
		s = fmt.Sprintf("%s: %s %s, %s", e.TargetName(), e.Direction, what, rate(e.Value, e.Unit))
	}
	if e.WouldHave {
		s += " (only watched)"
	}
	return Line(s)
}

// Text is an event in full, for people: the report of its attack, and before it
// what has become of a mitigation and what can be done about that.
func Text(e *sdk.Event) string {
	m := e.Mitigation
	if e.Type != sdk.MitigationChanged || m == nil {
		return string(report.Text(e))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", Title(e))
	for _, a := range m.Announcements {
		fmt.Fprintf(&b, "  %s\n", Line(a))
	}
	for _, p := range m.Peers {
		fmt.Fprintf(&b, "  %s: %s %s\n", Line(p.Peer), p.State, Line(p.Cause))
	}
	if m.State == sdk.MitigationHeld {
		fmt.Fprintf(&b, "Decide with \"fastnetmon held release %[1]s\" or \"fastnetmon held refuse %[1]s\".\n", Line(m.ID))
	}
	if e.ID != "" {
		fmt.Fprintf(&b, "\n%s", report.Text(e))
	}
	return b.String()
}

// Line is a text as it can stand in one line: control characters, line ends
// among them, become spaces.
func Line(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' || r == '\u0085' {
			return ' '
		}
		return r
	}, s)
}

var functions = template.FuncMap{
	"json": func(v any) (string, error) {
		var b strings.Builder
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(v)
		return strings.TrimSuffix(b.String(), "\n"), err
	},
	"rate": func(v any, unit string) (string, error) {
		f, err := number(v)
		return rate(f, unit), err
	},
	"percent": func(v any) (string, error) {
		f, err := number(v)
		return strconv.FormatFloat(100*f, 'f', 0, 64) + " %", err
	},
	"after": func(d, at string) (string, error) {
		duration, err1 := time.ParseDuration(d)
		t, err2 := time.Parse(time.RFC3339Nano, at)
		return t.Add(duration).Format(time.RFC3339Nano), errors.Join(err1, err2)
	},
	"cut": func(n int, s string) string {
		if utf8.RuneCountInString(s) <= n {
			return s
		}
		return string([]rune(s)[:max(0, n-1)]) + "…"
	},
}

// number reads a number of the event; null, what is no number, is zero.
func number(v any) (float64, error) {
	switch v := v.(type) {
	case nil:
		return 0, nil
	case json.Number:
		return v.Float64()
	case float64:
		return v, nil
	case int:
		return float64(v), nil
	}
	return 0, fmt.Errorf("%v is no number", v)
}

// rate writes a rate for people: three digits and a prefix.
func rate(v float64, unit string) string {
	unit = map[string]string{"pps": "packets/s", "bps": "bit/s", "fps": "flows/s"}[unit]
	prefix := ""
	for _, p := range []string{"k", "M", "G", "T"} {
		if v < 1000 {
			break
		}
		v, prefix = v/1000, p
	}
	digits := 0
	if prefix != "" && v < 100 {
		digits = 1
	}
	return strings.TrimSpace(strconv.FormatFloat(v, 'f', digits, 64) + " " + prefix + unit)
}

// limited keeps a template from filling the memory.
type limited struct{ b bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.b.Len()+len(p) > MaxSize {
		return 0, fmt.Errorf("it makes more than %d octets of one event", MaxSize)
	}
	return l.b.Write(p)
}
