package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

func trafficCommand() *cobra.Command {
	var out string
	var networks, attacks, loads []string
	var list bool
	var send sendFlags
	s := &gen.Scenario{}
	cmd := &cobra.Command{
		Use:   "traffic {--out FILE | --send PROTOCOL {--to HOST:PORT | --out FILE}} --network PREFIX [--attack KIND,target=ADDRESS,pps=N...] [--load USE,host=ADDRESS,pps=N...]",
		Short: "Write a capture of synthetic traffic, or tell of it in NetFlow, IPFIX or sFlow",
		Long: `Traffic makes up ordinary traffic (web, QUIC, DNS, ping, some IPv6) and, if asked, attacks. The same seed gives the same
traffic. It writes a pcap file, or plays a router that sees the traffic and tells of it in NetFlow 5 or 9, IPFIX or sFlow 5:

  --send ipfix --to 127.0.0.1:2055                in the traffic's own time: flows are told of when they end or are cut
  --send sflow --to 127.0.0.1:6343 --rate 20000   the same samples over and over, so many a second
  --send netflow5 --to 127.0.0.1:2055 --flood     the same records over and over, as many as the machine can
  --send ipfix --out flows.pcap                   what would be sent, as a capture file to replay with --flows netflow

Send to test machines of your own only: what arrives looks like real attacks, and a flood loads every link on its way.

An attack is a kind and settings, separated by commas:

  --attack syn_flood,target=203.0.113.7,pps=50000,start=5s,for=10s

  target     one of our addresses
  pps        packets per second
  start      after the beginning; 0s unless set
  for        how long; to the end unless set
  direction  incoming (default) or outgoing
  size       IP length of a packet in octets; the kind's own unless set

A load is one host's ordinary traffic that may look like an attack, given in the same way:

  --load backup,host=203.0.113.9,pps=16000,burst=60000

  host       one of our addresses
  pps        packets per second on average, in the direction that has most
  burst      packets per second in bursts of 300 ms, one every 1.5 to 4.5 s; none unless set
  start, for, direction, as above

The kinds of both are shown by --list.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				for _, k := range gen.Kinds() {
					fmt.Fprintf(cmd.OutOrStdout(), "%-28s%s\n", k.Kind, k.Description)
				}
				fmt.Fprintln(cmd.OutOrStdout(), "\nLoads:")
				for _, u := range gen.Uses() {
					fmt.Fprintf(cmd.OutOrStdout(), "%-28s%s\n", u.Use, u.Description)
				}
				return nil
			}
			if out == "" && send.protocol == "" {
				return fmt.Errorf("name a file to write with --out, or a protocol to send with --send")
			}
			if err := readScenario(s, networks, attacks, loads); err != nil {
				return err
			}
			s.Benign.Even = send.even
			if err := s.Check(); err != nil {
				return err
			}
			if send.protocol != "" && out != "" {
				return send.write(out, s, cmd.OutOrStdout())
			}
			if send.protocol != "" {
				to, err := send.check()
				if err != nil {
					return err
				}
				return send.send(cmd.Context(), s, to, cmd.OutOrStdout())
			}
			if err := mayOverwrite(out); err != nil {
				return err
			}
			n, err := writeCapture(out, s)
			if err != nil {
				return failure(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d packets in %s, seed %d\n", out, n, s.Duration, s.Seed)
			return failure(err)
		},
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "", "file to write")
	f.StringSliceVar(&networks, "network", []string{"203.0.113.0/24", "2001:db8::/64"}, "our networks; may be repeated")
	f.StringArrayVar(&attacks, "attack", nil, "an attack; may be repeated")
	f.StringArrayVar(&loads, "load", nil, "one host's ordinary traffic; may be repeated")
	f.Uint64Var(&s.Seed, "seed", 1, "what the traffic is made from")
	f.DurationVar(&s.Duration, "duration", 20*time.Second, "length of the capture, or how long to send")
	f.IntVar(&s.Hosts, "hosts", 100, "how many of our addresses have ordinary traffic")
	f.Float64Var(&s.Benign.PPS, "pps", 2000, "ordinary traffic, packets per second")
	f.Float64Var(&s.Benign.IPv6, "ipv6", 0.2, "share of ordinary traffic that is IPv6, 0 to 1, where the networks have both")
	f.Float64Var(&s.Benign.VLAN, "vlan", 0, "share of hosts behind a VLAN tag, 0 to 1")
	send.add(cmd)
	f.BoolVar(&list, "list", false, "list the kinds of attack and of load")
	return cmd
}

func readScenario(s *gen.Scenario, networks, attacks, loads []string) error {
	for _, text := range networks {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("--network %q: not a prefix such as 203.0.113.0/24", text)
		}
		s.Networks = append(s.Networks, p.Masked())
	}
	for _, text := range attacks {
		a, err := readAttack(text)
		if err != nil {
			return fmt.Errorf("--attack %q: %w", text, err)
		}
		s.Attacks = append(s.Attacks, a)
	}
	for _, text := range loads {
		l, err := readLoad(text)
		if err != nil {
			return fmt.Errorf("--load %q: %w", text, err)
		}
		s.Loads = append(s.Loads, l)
	}
	return nil
}

// setting reads one value of an attack or a load.
type setting func(text string) error

func address(to *netip.Addr) setting {
	return func(text string) (err error) { *to, err = netip.ParseAddr(text); return err }
}

func packets(to *float64) setting {
	return func(text string) (err error) { *to, err = strconv.ParseFloat(text, 64); return err }
}

func span(to *time.Duration) setting {
	return func(text string) (err error) { *to, err = time.ParseDuration(text); return err }
}

func readAttack(text string) (gen.Attack, error) {
	kind, rest, _ := strings.Cut(text, ",")
	a := gen.Attack{Kind: gen.Kind(kind)}
	if rest == "" {
		return a, fmt.Errorf("a target and a rate are needed, as in %s,target=203.0.113.7,pps=50000", kind)
	}
	return a, readSettings(rest, "target, pps, start, for, direction and size", map[string]setting{
		"target": address(&a.Target), "pps": packets(&a.PPS), "start": span(&a.Start), "for": span(&a.Duration),
		"direction": func(text string) error { a.Direction = gen.Direction(text); return nil },
		"size":      func(text string) (err error) { a.PacketSize, err = strconv.Atoi(text); return err },
	})
}

func readLoad(text string) (gen.Load, error) {
	use, rest, _ := strings.Cut(text, ",")
	l := gen.Load{Use: gen.Use(use)}
	if rest == "" {
		return l, fmt.Errorf("a host and a rate are needed, as in %s,host=203.0.113.9,pps=16000", use)
	}
	return l, readSettings(rest, "host, pps, burst, start, for and direction", map[string]setting{
		"host": address(&l.Host), "pps": packets(&l.PPS), "start": span(&l.Start), "for": span(&l.Duration),
		"direction": func(text string) error { l.Direction = gen.Direction(text); return nil },
		"burst": func(text string) error {
			l.Bursts = gen.Bursts{Length: 300 * time.Millisecond, Every: 3 * time.Second}
			return packets(&l.Bursts.PPS)(text)
		},
	})
}

// readSettings reads NAME=VALUE,... with what reads the values.
func readSettings(text, names string, settings map[string]setting) error {
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		read, ok := settings[name]
		if !ok {
			return fmt.Errorf("no setting is called %q; there are %s", name, names)
		}
		if err := read(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// mayOverwrite refuses to replace a file that is no capture.
func mayOverwrite(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return nil //nolint:nilerr // there is nothing to lose; writing will tell what is wrong
	}
	defer f.Close()
	var head [4]byte
	if n, err := f.Read(head[:]); n == 0 && errors.Is(err, io.EOF) {
		return nil
	}
	switch binary.LittleEndian.Uint32(head[:]) {
	case 0xa1b2c3d4, 0xa1b23c4d, 0xd4c3b2a1, 0x4d3cb2a1, 0x0a0d0d0a:
		return nil
	}
	return fmt.Errorf("%s exists and is no capture: remove it first, or write to another file", path)
}

// writeCapture writes the whole capture, or no file.
func writeCapture(path string, s *gen.Scenario) (packets int, err error) {
	err = writeFile(path, func(w io.Writer) error {
		packets, err = gen.WritePcap(w, s)
		return err
	})
	return packets, err
}

// writeFile writes a whole file, or none.
func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			os.Remove(path)
		}
	}()
	return write(f)
}
