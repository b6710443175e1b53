package message

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func TestRender(t *testing.T) {
	text := `{{.title}}|{{.key}}|{{.target}}|{{.value}}|{{rate .value .unit}}|{{rate .peak_pps "pps"}}|{{after "1h" .time}}|{{json .hostgroup}}|{{cut 4 .threshold}}|{{.variables.who}}|` +
		`{{with .evidence}}{{range .tops.sources.rows}}{{.value}} {{percent .share}};{{end}}{{end}}|{{if .suspended}}s{{end}}{{with .summary}}{{.attacks}}{{end}}`
	tmpl, err := Parse(text, map[string]string{"who": "noc"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`203.0.113.5: incoming udp_flood, 131 kpackets/s|0123456789abcdef-1|203.0.113.5|131072.5|131 kpackets/s|131 kpackets/s|2025-06-01T13:00:00Z|"the \"default\" one"|flo…|noc||`,
		`203.0.113.5: incoming ntp_reflection goes on, 131 kpackets/s|0123456789abcdef-2|203.0.113.5|131072.5|131 kpackets/s|131 kpackets/s|2025-06-01T13:00:00Z|"the \"default\" one"|flo…|noc|198.51.100.7 60 %;198.51.100.8 40 %;|`,
		`203.0.113.5: the incoming ntp_reflection is over, 131 kpackets/s at most|0123456789abcdef-3|203.0.113.5|131072.5|131 kpackets/s|131 kpackets/s|2025-06-01T13:05:00Z|"the \"default\" one"|flo…|noc|198.51.100.7 60 %;198.51.100.8 40 %;|`,
		`12 attacks (10 going on) (only watched)|fedcba9876543210-1||131072.5|131 kpackets/s|131 kpackets/s|2025-06-01T13:00:00Z|""|flo…|noc||s12`,
		`203.0.113.5: action.gobgp.edge.blackhole is held: 11 mitigations would be in force, more than max_active = 10|00aa11bb22cc33dd-held-1748779201000000000|203.0.113.5|131072.5|131 kpackets/s|131 kpackets/s|2025-06-01T13:00:00Z|"the \"default\" one"|flo…|noc|198.51.100.7 60 %;198.51.100.8 40 %;|`,
	}
	for i, e := range Samples() {
		got, err := tmpl.Render(&e)
		if err != nil || string(got) != want[i] {
			t.Errorf("sample %d: %v\n got %s\nwant %s", i, err, got, want[i])
		}
	}
	if err := tmpl.Check(nil); err != nil {
		t.Error(err)
	}
}

// Mistakes are found without an attack.
func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		`{{.tarjet}}`:                                "tarjet",
		`{{.variables.token}}`:                       "token",
		`{{range .summary.parts}}x{{end}}`:           "nil",
		`{{if .target}}`:                             "unexpected EOF",
		`{{nosuch .target}}`:                         `function "nosuch" not defined`,
		`{{range .thresholds_crossed}}{{.n}}{{end}}`: "n",
		`{{define "x"}}xxxxxxxxxxxxxxxx{{template "y" .}}{{end}}{{define "y"}}{{template "x" .}}{{end}}{{template "x" .}}`: "",
	} {
		tmpl, err := Parse(text, nil)
		if err == nil {
			err = tmpl.Check(nil)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", text, err, want)
		}
	}
	tmpl, err := Parse(`{"a": {{.target}}}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := tmpl.Check(func(b []byte) error { var v any; return json.Unmarshal(b, &v) }); err == nil || !strings.Contains(err.Error(), "with a sample of attack.started") {
		t.Errorf("what is no JSON: %v", err)
	}
}

func TestTooLarge(t *testing.T) {
	tmpl, err := Parse(`{{define "x"}}`+strings.Repeat("y", MaxSize/2)+`{{end}}{{template "x"}}{{template "x"}}{{template "x"}}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := tmpl.Check(nil); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("error %v", err)
	}
}

// Nothing in an event ends a line.
func TestTitleIsALine(t *testing.T) {
	e := Samples()[0]
	e.Label = "a\r\nBcc: all@example.net\x00\u2028"
	if title := Title(&e); strings.ContainsAny(title, "\r\n\x00\u2028") {
		t.Errorf("%q", title)
	}
	if got := Title(&sdk.Event{}); got == "" {
		t.Error("an empty event has no title")
	}
}
