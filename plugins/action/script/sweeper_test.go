package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// What is left at the end is killed, once, and nothing that is no group.
func TestSweep(t *testing.T) {
	var killed []string
	sweep(strings.NewReader("+12 a\n+13 b\n-12\n+14 c\n+14 d\n\n+\n+x\n+0\n+1 e\n+-5\n?15\n-99\n+16"),
		func(group int, mark string) { killed = append(killed, fmt.Sprint(group, mark)) })
	if want := []string{"13b", "14d", "16"}; !slices.Equal(killed, want) {
		t.Errorf("killed %v, want %v", killed, want)
	}
}

// A sweeper that does not listen delays a script a little, once, and the next
// not at all.
func TestDeafSweeper(t *testing.T) {
	s, _, log := setup(t, "exit 0", nil)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.sweeper.end()
	if err := s.sweeper.process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for fill := true; fill; { // until the pipe is full
		fill = s.sweeper.tell(fmt.Sprintf("-%04000d", 7)) == nil
	}
	for range 2 {
		if err := s.Notify(t.Context(), attack()); err != nil {
			t.Error(err)
		}
	}
	if strings.Contains(log.String(), "may outlive") {
		t.Errorf("it is told again and again:\n%s", log)
	}
}
