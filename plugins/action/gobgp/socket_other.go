//go:build !linux

package main

import (
	"net"
	"syscall"
)

// dialOptions, accepted and listenOptions would set passwords and hop limits, which
// are there on Linux only; configurations with them are refused elsewhere.
func (s *session) dialOptions(string, string, syscall.RawConn) error { return nil }

func (s *session) accepted(net.Conn) error { return nil }

func (s *speaker) listenOptions(string, string, syscall.RawConn) error { return nil }
