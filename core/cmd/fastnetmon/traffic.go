package main

import (
	"bufio"
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
	var networks, attacks []string
	var list bool
	var send sendFlags
	s := &gen.Scenario{}
	cmd := &cobra.Command{
		Use:   "traffic {--out FILE | --send PROTOCOL --to HOST:PORT} --network PREFIX [--attack KIND,target=ADDRESS,pps=N...]",
		Short: "Write a capture of synthetic traffic, or tell of it in NetFlow, IPFIX or sFlow",
		Long: `Traffic makes up ordinary traffic (web, QUIC, DNS, ping, some IPv6) and, if asked, attacks. The same seed gives the same
traffic. It writes a pcap file, or plays a router that sees the traffic and tells of it in NetFlow 5 or 9, IPFIX or sFlow 5:

  --send ipfix --to 127.0.0.1:2055                in the traffic's own time: flows are told of when they end or are cut
  --send sflow --to 127.0.0.1:6343 --rate 20000   the same samples over and over, so many a second
  --send netflow5 --to 127.0.0.1:2055 --flood     the same records over and over, as many as the machine can

Send to test machines of your own only: what arrives looks like real attacks, and a flood loads every link on its way.

An attack is a kind and settings, separated by commas:

  --attack syn_flood,target=203.0.113.7,pps=50000,start=5s,for=10s

  target     one of our addresses
  pps        packets per second
  start      after the beginning; 0s unless set
  for        how long; to the end unless set
  direction  incoming (default) or outgoing
  size       IP length of a packet in octets; the kind's own unless set

The kinds are shown by --list.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				for _, k := range gen.Kinds() {
					fmt.Fprintf(cmd.OutOrStdout(), "%-24s%s\n", k.Kind, k.Description)
				}
				return nil
			}
			if out == "" == (send.protocol == "") {
				return fmt.Errorf("name a file to write with --out, or a protocol to send with --send")
			}
			if err := readScenario(s, networks, attacks); err != nil {
				return err
			}
			s.Benign.Even = send.even
			if err := s.Check(); err != nil {
				return err
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
	f.Uint64Var(&s.Seed, "seed", 1, "what the traffic is made from")
	f.DurationVar(&s.Duration, "duration", 20*time.Second, "length of the capture, or how long to send")
	f.IntVar(&s.Hosts, "hosts", 100, "how many of our addresses have ordinary traffic")
	f.Float64Var(&s.Benign.PPS, "pps", 2000, "ordinary traffic, packets per second")
	f.Float64Var(&s.Benign.IPv6, "ipv6", 0.2, "share of ordinary traffic that is IPv6, 0 to 1, where the networks have both")
	f.Float64Var(&s.Benign.VLAN, "vlan", 0, "share of hosts behind a VLAN tag, 0 to 1")
	send.add(cmd)
	f.BoolVar(&list, "list", false, "list the kinds of attack")
	return cmd
}

func readScenario(s *gen.Scenario, networks, attacks []string) error {
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
	return nil
}

func readAttack(text string) (gen.Attack, error) {
	kind, settings, _ := strings.Cut(text, ",")
	a := gen.Attack{Kind: gen.Kind(kind)}
	if settings == "" {
		return a, fmt.Errorf("a target and a rate are needed, as in %s,target=203.0.113.7,pps=50000", kind)
	}
	for setting := range strings.SplitSeq(settings, ",") {
		name, value, _ := strings.Cut(setting, "=")
		var err error
		switch name {
		case "target":
			a.Target, err = netip.ParseAddr(value)
		case "pps":
			a.PPS, err = strconv.ParseFloat(value, 64)
		case "start":
			a.Start, err = time.ParseDuration(value)
		case "for":
			a.Duration, err = time.ParseDuration(value)
		case "direction":
			a.Direction = gen.Direction(value)
		case "size":
			a.PacketSize, err = strconv.Atoi(value)
		default:
			return a, fmt.Errorf("no setting is called %q; there are target, pps, start, for, direction and size", name)
		}
		if err != nil {
			return a, fmt.Errorf("%s: %w", name, err)
		}
	}
	return a, nil
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
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			os.Remove(path)
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if packets, err = gen.WritePcap(w, s); err != nil {
		return 0, err
	}
	return packets, w.Flush()
}
