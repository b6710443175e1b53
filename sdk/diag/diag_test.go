package diag_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

func TestPath(t *testing.T) {
	base := diag.Path{}.Attr("neighbor").Index(1)
	a, b := base.Attr("peer_as"), base.Attr("env").Key("A b")
	for got, want := range map[string]string{
		a.String():           "neighbor[1].peer_as",
		b.String():           `neighbor[1].env["A b"]`,
		base.String():        "neighbor[1]",
		diag.Path{}.String(): "",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestFromError(t *testing.T) {
	one := diag.Errorf(diag.Path{}.Attr("a"), "Wrong", "%d is too much", 5)
	two := diag.Warningf(nil, "Odd", "")
	for _, c := range []struct {
		name string
		err  error
		want diag.Diagnostics
	}{
		{"none", nil, nil},
		{"one", one, diag.Diagnostics{one}},
		{"a pointer", &one, diag.Diagnostics{one}},
		{"several", diag.Diagnostics{one, two}, diag.Diagnostics{one, two}},
		{"wrapped", fmt.Errorf("x: %w", diag.Diagnostics{one}), diag.Diagnostics{one}},
		{"joined", errors.Join(one, two), diag.Diagnostics{one, two}},
		{"joined with others", errors.Join(errors.New("boo"), one), diag.Diagnostics{one, {Severity: diag.Error, Summary: "boo"}}},
		{"another", errors.New("boo"), diag.Diagnostics{{Severity: diag.Error, Summary: "Failed", Detail: "boo"}}},
		{"others joined", errors.Join(errors.New("a"), errors.New("b")), diag.Diagnostics{{Severity: diag.Error, Summary: "Failed", Detail: "a\nb"}}},
	} {
		if got := diag.FromError(c.err, "Failed"); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %#v, want %#v", c.name, got, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	warning := diag.Diagnostics{diag.Warningf(nil, "Odd", "very")}
	if warning.HasErrors() || warning.Err() == nil || diag.Diagnostics(nil).Err() != nil {
		t.Error("a warning is no error, and an empty list none at all")
	}
	both := append(slices.Clone(warning), diag.Errorf(diag.Path{}.Attr("a"), "Wrong", ""))
	if !both.HasErrors() || both.Error() != "Odd: very\na: Wrong" {
		t.Errorf("got %q", both.Error())
	}
	if !(diag.Diagnostics{{Summary: "severity not set"}}).HasErrors() {
		t.Error("a diagnostic without severity counts as an error")
	}
}
