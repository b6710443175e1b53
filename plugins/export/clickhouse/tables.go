package main

import (
	"fmt"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

// column is a column and its type, with what follows it in a definition.
type column struct{ name, kind string }

// table is a table that rows are written to.
type table struct {
	name    string
	columns []column // those that are written
	fixed   string   // definitions before them, of columns that fill themselves
	last    string   // the same, behind them
	order   string   // key
	day     string   // column of the date, by which the table is parted and rows go
}

// definition is the statement that makes a table. Rows go after so many days
// where the server can do that.
func (t *table) definition(database string, days int, ttl bool) string {
	var columns []string
	if t.fixed != "" {
		columns = append(columns, t.fixed)
	}
	for _, c := range t.columns {
		columns = append(columns, c.name+" "+c.kind)
	}
	if t.last != "" {
		columns = append(columns, t.last)
	}
	out := fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s.%s (%s) ENGINE = MergeTree PARTITION BY %s ORDER BY (%s)",
		database, t.name, strings.Join(columns, ", "), t.day, t.order)
	if ttl {
		out += fmt.Sprintf(" TTL %s + toIntervalDay(%d)", t.day, days)
	}
	return out + " SETTINGS index_granularity=8192"
}

// insert is the statement that rows are written with.
func (t *table) insert(database string) string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return fmt.Sprintf("INSERT INTO %s.%s (%s)", database, t.name, strings.Join(names, ", "))
}

// counters are the built-in counters.
var counters = []string{"total", "tcp", "udp", "icmp", "tcp_syn", "fragmented", "dropped", "exempt"}

// native makes a table of our own layout.
func native(name, order string, columns ...column) *table {
	return &table{
		name: name, fixed: "date Date DEFAULT toDate(time)", columns: append([]column{{"time", "DateTime"}}, columns...), order: order, day: "date",
	}
}

// withRates adds the columns of rates.
func withRates(columns ...column) []column {
	for _, c := range counters {
		columns = append(columns, column{c + "_pps", "Float64"}, column{c + "_bps", "Float64"})
	}
	return append(columns, column{"flows", "Float64"})
}

// The tables of our own layout.
var (
	totalTable   = native("total", "direction, family, time", withRates(column{"direction", "String"}, column{"family", "UInt8"})...)
	networkTable = native("network", "network, direction, time", withRates(column{"network", "String"}, column{"direction", "String"})...)
	groupTable   = native("hostgroup", "hostgroup, direction, time", withRates(column{"hostgroup", "String"}, column{"direction", "String"})...)
	hostTable    = native("host", "host, direction, time",
		withRates(column{"host", "String"}, column{"direction", "String"}, column{"hostgroup", "String"}, column{"network", "String"})...)
	inputTable = native("input", "input, time",
		column{"input", "String"}, column{"received", "UInt64"}, column{"used", "UInt64"}, column{"in_flight", "UInt64"}, column{"dropped", "UInt64"})
	systemTable = native("system", "name, labels, time", column{"name", "String"}, column{"labels", "String"}, column{"value", "Float64"})
	eventTable  = native("event", "time, event_id",
		column{"event_id", "String"}, column{"nanoseconds", "UInt32"}, column{"event", "String"}, column{"id", "String"}, column{"seq", "UInt32"},
		column{"target", "String"}, column{"direction", "String"}, column{"hostgroup", "String"}, column{"network", "String"}, column{"mode", "String"},
		column{"threshold", "String"}, column{"counter", "String"}, column{"unit", "String"}, column{"value", "Float64"}, column{"threshold_limit", "Float64"},
		column{"peak_pps", "Float64"}, column{"attack_type", "String"}, column{"label", "String"}, column{"started", "DateTime"}, column{"json", "String"})

	mitigationTable = native("mitigation", "time, event_id",
		column{"event_id", "String"}, column{"nanoseconds", "UInt32"}, column{"id", "String"}, column{"attack", "String"}, column{"target", "String"},
		column{"direction", "String"}, column{"hostgroup", "String"}, column{"action", "String"}, column{"state", "String"}, column{"cause", "String"},
		column{"requested", "DateTime"}, column{"expires", "DateTime"}, column{"asked_by", "String"}, column{"reason", "String"})

	nativeTables = []*table{totalTable, networkTable, groupTable, hostTable, inputTable, systemTable, eventTable, mitigationTable}
)

// community makes a table of the original's: see createClickhouseTables there.
func community(name, key, schema string, columns ...column) *table {
	all := []column{{"metricDateTime", "DateTime"}}
	if key != "name" {
		all = append(all, column{key, "String"})
	}
	return &table{
		name: name, fixed: "metricDate Date DEFAULT toDate(metricDateTime)", columns: append(all, columns...),
		last: "schema_version UInt8 DEFAULT 0 COMMENT '" + schema + "'", order: key + ", metricDate", day: "metricDate",
	}
}

func whole(names ...string) (out []column) {
	for _, n := range names {
		out = append(out, column{n, "UInt64"})
	}
	return out
}

func totalColumns() []column {
	names := []string{"flows", "packets", "bits"}
	for _, unit := range []string{"packets", "bits"} {
		for _, c := range delivery.CommunityCounters {
			names = append(names, c.Name+"_"+unit)
		}
	}
	return whole(names...)
}

// pairUnits are the units of a host or network, and pairCounters what it is
// counted by beside all traffic: the original has no dropped here.
var (
	hostUnits    = []string{"packets", "bits", "flows"}
	networkUnits = []string{"packets", "bits"}
	pairCounters = delivery.CommunityCounters[:5]
)

func pairColumns(units []string) []column {
	var names []string
	for _, unit := range units {
		names = append(names, unit+"_incoming", unit+"_outgoing")
	}
	for _, c := range pairCounters {
		for _, unit := range []string{"packets", "bits"} {
			names = append(names, c.Name+"_"+unit+"_incoming", c.Name+"_"+unit+"_outgoing")
		}
	}
	return whole(names...)
}

// The original's tables.
var (
	communityTotals = map[int]*table{
		0: community("total_metrics", "direction", "1", totalColumns()...),
		4: community("total_metrics_ipv4", "direction", "1", totalColumns()...),
		6: community("total_metrics_ipv6", "direction", "1", totalColumns()...),
	}
	communityHosts = map[int]*table{
		4: community("host_metrics", "host", "2", pairColumns(hostUnits)...),
		6: community("host_metrics_ipv6", "host", "2", pairColumns(hostUnits)...),
	}
	communityNetworks = map[int]*table{
		4: community("network_metrics", "network", "1", pairColumns(networkUnits)...),
		6: community("network_metrics_ipv6", "network", "1", pairColumns(networkUnits)...),
	}
	communitySystem = community("system_metrics", "name", "1", column{"name", "String"}, column{"type", "String"}, column{"value", "UInt64"})

	communityTables = []*table{
		communityTotals[0], communityTotals[4], communityTotals[6], communityHosts[4], communityHosts[6], communityNetworks[4], communityNetworks[6], communitySystem,
	}
)
