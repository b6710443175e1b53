//go:build !linux

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// sendBatch is how many datagrams one call of Send takes.
const sendBatch = 64

// udpSender sends datagrams to one address.
type udpSender struct {
	conn    *net.UDPConn
	Refused uint64 // datagrams for which nobody listened, as far as we were told
}

func dialSender(to netip.AddrPort) (*udpSender, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, fmt.Errorf("send to %v: %w", to, err)
	}
	return &udpSender{conn: conn}, nil
}

func (s *udpSender) Close() error { return s.conn.Close() }

// Send sends at most sendBatch datagrams.
func (s *udpSender) Send(batch [][]byte) error {
	for _, b := range batch {
		_, err := s.conn.Write(b)
		if errors.Is(err, syscall.ECONNREFUSED) {
			s.Refused++
			_, err = s.conn.Write(b)
		}
		if err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("send to %v: %w", s.conn.RemoteAddr(), err)
		}
	}
	return nil
}
