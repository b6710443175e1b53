package exporter

import (
	"testing"
	"time"
)

func TestWanted(t *testing.T) {
	for _, c := range []struct {
		name    string
		block   Block
		in, out uint32
		egress  bool
		cause   string
	}{
		{"all", Block{}, 1, 2, true, ""},
		{"ingress", Block{Count: CountIngress}, 1, 2, false, ""},
		{"egress record", Block{Count: CountIngress}, 1, 2, true, CauseDirection},
		{"egress", Block{Count: CountEgress}, 1, 2, true, ""},
		{"ingress record", Block{Count: CountEgress}, 1, 2, false, CauseDirection},
		{"input", Block{Interfaces: []string{"7", "1"}}, 1, 2, false, ""},
		{"output", Block{Interfaces: []string{"2"}}, 1, 2, false, ""},
		{"neither", Block{Interfaces: []string{"3", "10-20"}}, 1, 2, false, CauseInterface},
		{"range", Block{Interfaces: []string{"15-20", "10-16"}}, 1, 10, false, ""},
		{"end of range", Block{Interfaces: []string{"10-20"}}, 20, 0, false, ""},
		{"excluded", Block{Interfaces: []string{"!1"}}, 1, 2, false, CauseInterface},
		{"not excluded", Block{Interfaces: []string{"!3-9"}}, 1, 2, false, ""},
		{"both", Block{Interfaces: []string{"1", "!2"}}, 1, 2, false, CauseInterface},
		{"no interface told", Block{Interfaces: []string{"1"}}, 0, 0, false, CauseInterface},
		{"name not told", Block{Interfaces: []string{"ae0"}}, 1, 2, false, CauseInterface},
		{"excluded name not told", Block{Interfaces: []string{"!ae0"}}, 1, 2, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _, _ := set(t, Options{Blocks: []Block{c.block}})
			e := find(t, s.View(), id("192.0.2.1:1", 1))
			ok, cause := e.Wanted(c.in, c.out, c.egress)
			if cause != c.cause || ok != (cause == "") {
				t.Errorf("%v %q, want %q", ok, cause, c.cause)
			}
			if e.Filtered() != (c.name != "all") {
				t.Error("Filtered is wrong")
			}
		})
	}
}

func TestInterfacesByName(t *testing.T) {
	s, c, _ := set(t, Options{Blocks: []Block{{Name: "a", Interfaces: []string{"ae0", "ge-0/0/1", "!lo0", "5"}}}})
	e := find(t, s.View(), id("192.0.2.1:1", 1))
	want := func(in uint32, want bool) {
		t.Helper()
		if ok, _ := e.Wanted(in, 99, false); ok != want {
			t.Errorf("interface %d: %v", in, ok)
		}
	}
	if r := row(t, s, e); r["notes"] != "3 of its interfaces' names not told yet" {
		t.Errorf("%v", r)
	}
	want(5, true)
	want(10, false)
	e.Interface(10, "ae0")
	e.Interface(11, "ge-0/0/1")
	e.Interface(12, "ge-0/0/2")
	e.Interface(5, "lo0")
	want(10, true)
	want(11, true)
	want(12, false)
	want(5, false)
	e.Interface(10, "ae1") // renumbered
	e.Interface(13, "ae0")
	want(10, false)
	want(13, true)
	for i := range uint32(2 * maxNames) {
		e.Interface(1000+i, "ae0")
	}
	if n := len(e.names.told); n > maxNames || s.learned.Load() != int64(n) {
		t.Errorf("%d names, %d held", n, s.learned.Load())
	}
	c.pass(time.Second)
	e.Datagram(1)
	want(1000+maxNames/2, true)
}
