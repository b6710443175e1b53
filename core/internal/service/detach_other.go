//go:build !linux

package service

import "golang.org/x/sys/unix"

// closeInherited does nothing: there is no one call for it here.
func closeInherited() {}

// replaceFD makes to another name of from.
func replaceFD(from, to int) error { return unix.Dup2(from, to) }
