package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func hostsCommand() *cobra.Command {
	var q api.HostQuery
	var prefix string
	cmd := clientCommand("hosts", "Show the hosts with the highest rates",
		func(ctx context.Context, c *api.Client) ([]sdk.HostRate, error) {
			if q.Top == 0 {
				return nil, fmt.Errorf("%w: 0 hosts: ask for 1 to %d", api.ErrBadQuery, api.MaxHosts)
			}
			if prefix != "" {
				var err error
				if q.Prefix, err = api.ParsePrefix(prefix); err != nil {
					return nil, fmt.Errorf("%w: --prefix: %w", api.ErrBadQuery, err)
				}
			}
			return c.Hosts(ctx, q)
		},
		func(w io.Writer, hosts []sdk.HostRate) error { return printHosts(w, q.Counter, hosts) })
	flags := cmd.Flags()
	flags.IntVar(&q.Top, "top", 20, fmt.Sprintf("number of hosts, at most %d", api.MaxHosts))
	flags.StringVar(&q.Unit, "by", "pps", "unit to order by: pps, bps or fps")
	flags.StringVar(&q.Counter, "counter", "total", "built-in counter to order by: total, tcp, udp, icmp, tcp_syn, fragmented, dropped or exempt")
	flags.StringVar(&q.Direction, "direction", "incoming", "incoming, outgoing, or both: by their sum")
	flags.StringVar(&q.Group, "group", "", "only hosts of this hostgroup")
	flags.StringVar(&q.Network, "network", "", "only hosts of this network")
	flags.StringVar(&prefix, "prefix", "", "only hosts inside this prefix")
	return cmd
}

// printHosts shows the rates of one counter.
func printHosts(w io.Writer, counter string, hosts []sdk.HostRate) error {
	of := ""
	if counter != "total" {
		of = strings.ToUpper(counter) + " "
	}
	columns := []column{
		{"HOST", false}, {"DIRECTION", false}, {of + "PPS", true}, {of + "BPS", true}, {"FPS", true}, {"HOSTGROUP", false}, {"NETWORK", false},
	}
	var rows [][]string
	for _, h := range hosts {
		var rate sdk.CounterRate
		for _, r := range h.Counters {
			if r.Counter == counter {
				rate = r
			}
		}
		rows = append(rows, []string{
			cmp.Or(sdk.TargetText(h.Host), "-"), h.Direction, count(rate.PPS), count(rate.BPS), count(h.Flows), h.Group, h.Network,
		})
	}
	return writeTable(w, columns, rows)
}
