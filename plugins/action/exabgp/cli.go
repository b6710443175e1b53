package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxAnswer bounds an answer of ExaBGP's, in octets.
const maxAnswer = 16 << 20

// cli speaks over the named pipes of ExaBGP's CLI: commands into PATH.in, their
// answers out of PATH.out, a line "done" or "error" at the end of each.
type cli struct {
	in      pipe
	out     string
	timeout time.Duration
	fd      int // of out; -1: closed
	rest    []byte
}

func newCLI(path string, timeout time.Duration) *cli {
	return &cli{in: pipe{path: path + ".in", fd: -1}, out: path + ".out", timeout: timeout, fd: -1}
}

// open reaches ExaBGP and throws away answers to commands of others, or of a
// process of ours that ended before it got them.
func (c *cli) open() error {
	if err := c.in.open(); err != nil {
		return err
	}
	// For reading and writing: with a writer of our own there is no end of file
	// each time ExaBGP closes its end, which is after each line.
	fd, err := openFIFO(c.out, unix.O_RDWR)
	if err != nil {
		c.in.close()
		return err
	}
	c.fd, c.rest = fd, nil
	const quiet = 150 * time.Millisecond // ExaBGP tries to write each 50 ms
	last, end := time.Now(), time.Now().Add(c.timeout)
	for buf := make([]byte, 64<<10); time.Since(last) < quiet && time.Now().Before(end); {
		if n, _ := unix.Read(c.fd, buf); n > 0 {
			last = time.Now()
			continue
		}
		time.Sleep(pollPause)
	}
	return nil
}

func (c *cli) alive() bool { return c.in.alive() }

func (c *cli) close() {
	c.in.close()
	if c.fd >= 0 {
		_ = unix.Close(c.fd) // it was read from only
	}
	c.fd = -1
}

func (c *cli) command(line string) error {
	_, err := c.ask(line)
	return err
}

// ask hands over a command and waits for the end of its answer.
func (c *cli) ask(line string) (answer []string, err error) {
	if err := c.in.command(line); err != nil {
		return nil, err
	}
	size := 0
	for end := time.Now().Add(c.timeout); ; {
		text, ok, err := c.line()
		switch {
		case err != nil:
			return nil, err
		case !ok && time.Now().After(end):
			return nil, fmt.Errorf("ExaBGP did not answer on %s in %s: api.ack has to be true, and nobody else may read there", c.out, c.timeout)
		case !ok:
			if !c.alive() {
				return nil, errGone
			}
			time.Sleep(pollPause)
			continue
		}
		switch text {
		case "done":
			return answer, nil
		case "error":
			return nil, errRefused
		case "shutdown":
			return nil, errGone
		}
		answer = append(answer, text)
		if size += len(text); size > maxAnswer {
			return nil, fmt.Errorf("ExaBGP's answer on %s has no end", c.out)
		}
	}
}

// line takes a line out of what has come.
func (c *cli) line() (text string, ok bool, err error) {
	for {
		if line, rest, found := bytes.Cut(c.rest, []byte("\n")); found {
			c.rest = rest
			return strings.TrimRight(string(line), "\r"), true, nil
		}
		if len(c.rest) > maxAnswer {
			return "", false, fmt.Errorf("ExaBGP's answer on %s has no end", c.out)
		}
		buf := make([]byte, 64<<10)
		n, err := unix.Read(c.fd, buf)
		switch {
		case n > 0:
			c.rest = append(c.rest, buf[:n]...)
		case err == nil || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			return "", false, nil
		default:
			return "", false, fmt.Errorf("reading from %s: %w", c.out, err)
		}
	}
}

// view is what ExaBGP has: its neighbours, and how many routes for each of
// them, by family and destination.
type view struct {
	peers []*peer
}

// peer is a neighbour of ExaBGP's.
type peer struct {
	address     string
	established bool
	local, both map[string]bool // families that ExaBGP, or both, speak
	routes      map[string]int  // in its Adj-RIB-Out
}

// at names a family and a destination.
func at(family string, destination netip.Prefix) string { return family + " " + destination.String() }

func (c *cli) look() (*view, error) {
	neighbors, err := c.ask("show neighbor extensive")
	if err != nil {
		return nil, err
	}
	rib, err := c.ask("show adj-rib out")
	if err != nil {
		return nil, err
	}
	return parse(neighbors, rib), nil
}

// parse reads two answers of ExaBGP's. What it does not know is passed over:
//
//	Neighbor 127.0.0.12
//	   state                    ESTABLISHED
//	   ipv4 unicast:                enabled         enabled        disabled
//
//	neighbor 127.0.0.12 ipv4 unicast 203.0.113.5/32 next-hop 192.0.2.66
//	neighbor 127.0.0.12 ipv6 flow flow destination-ipv6 2001:db8::7/128/0 next-header =tcp
func parse(neighbors, rib []string) *view {
	v := &view{}
	find := func(address string) *peer {
		for _, p := range v.peers {
			if p.address == address {
				return p
			}
		}
		return nil
	}
	var p *peer
	for _, line := range neighbors {
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && words[0] == "Neighbor":
			if p = find(words[1]); p == nil {
				p = &peer{address: words[1], local: map[string]bool{}, both: map[string]bool{}, routes: map[string]int{}}
				v.peers = append(v.peers, p)
			}
		case p == nil:
		case len(words) >= 2 && words[0] == "state":
			p.established = strings.EqualFold(words[1], "established")
		case len(words) >= 4 && strings.HasSuffix(words[1], ":") && strings.HasPrefix(words[0], "ipv"):
			family := words[0] + " " + strings.TrimSuffix(words[1], ":")
			p.local[family] = words[2] == "enabled"
			p.both[family] = words[2] == "enabled" && words[3] == "enabled"
		}
	}
	for _, line := range rib {
		words := strings.Fields(line)
		if len(words) < 5 || words[0] != "neighbor" {
			continue
		}
		p, family, destination := find(words[1]), words[2]+" "+words[3], words[4]
		if words[3] == "flow" {
			destination = ""
			for i, w := range words[:len(words)-1] {
				if strings.HasPrefix(w, "destination-ipv") {
					destination = words[i+1]
				}
			}
			if i := strings.LastIndexByte(destination, '/'); strings.Count(destination, "/") == 2 {
				destination = destination[:i] // the offset of IPv6 (RFC 8956, 3.1)
			}
		}
		if prefix, err := netip.ParsePrefix(destination); err == nil && p != nil {
			p.routes[at(family, prefix)]++
		}
	}
	return v
}
