package verdict_test

import (
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
	"github.com/fastnetmon-go/fastnetmon/sdk/verdict"
)

func TestRead(t *testing.T) {
	class := func(n int) *int { return &n }
	for _, c := range []struct {
		then  string
		class *int
		want  verdict.Then
		say   string
	}{
		{then: verdict.Keep, want: verdict.Then{Others: traffic.VerdictDrop}},
		{then: verdict.Drop, want: verdict.Then{Match: traffic.VerdictDrop}},
		{then: verdict.Mark, class: class(0), want: verdict.Then{Class: 1}},
		{then: verdict.Mark, class: class(63), want: verdict.Then{Class: 1 << 63}},
		{then: verdict.Mark, class: class(64), say: "class: Invalid class"},
		{then: verdict.Mark, class: class(-1), say: "class: Invalid class"},
		{then: verdict.Mark, say: "then: No class"},
		{then: verdict.Keep, class: class(1), say: "class: Class without effect"},
		{then: "pass", say: "then: Unknown value"},
	} {
		got, ds := verdict.Read(c.then, c.class)
		if got != c.want || ds.HasErrors() != (c.say != "") || ds.HasErrors() && (len(ds) != 1 || !strings.Contains(ds.Error(), c.say)) {
			t.Errorf("%s: %+v, %v", c.then, got, ds)
		}
	}
}
