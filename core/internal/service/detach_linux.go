package service

import (
	"math"

	"golang.org/x/sys/unix"
)

// closeInherited keeps descriptors that a shell or an init script left open
// out of a program that stays: a lock held in it would never be freed.
func closeInherited() {
	// Before Linux 5.11 there is no such call; they stay open then.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
}

// replaceFD makes to another name of from.
func replaceFD(from, to int) error { return unix.Dup3(from, to, 0) }
