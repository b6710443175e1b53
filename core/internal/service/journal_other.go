//go:build !linux

package service

import "io"

// toJournal is about systemd, which only Linux has.
func toJournal(io.Writer) bool { return false }
