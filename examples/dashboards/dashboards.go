// Package dashboards makes the Grafana dashboards beside it, from one list of
// panels.
package dashboards

import (
	"encoding/json"
	"fmt"
)

// panel is one graph: its title, Grafana's unit of the values, and the query in
// each store; one without is not in that dashboard.
type panel struct {
	title, unit                                string
	prometheus, influxdb, graphite, clickhouse string
}

// influx is a query of InfluxQL: a field of a measurement, by tags.
func influx(field, measurement, where, by string) string {
	if where != "" {
		where += " AND "
	}
	return fmt.Sprintf(`SELECT mean("%s") FROM "%s" WHERE %s$timeFilter GROUP BY time($__interval), %s fill(none)`, field, measurement, where, by)
}

// clickhouse is a query of SQL: an expression over a table, by columns.
func clickhouse(value, table, where, by string) string {
	if where != "" {
		where = " AND " + where
	}
	return fmt.Sprintf("SELECT time, %s, %s AS y FROM fastnetmon.%s WHERE $__timeFilter(time)%s GROUP BY time, %s ORDER BY time", by, value, table, where, by)
}

var panels = []panel{
	{
		"All traffic, packets", "pps",
		`sum by (direction) (fastnetmon_total_packets_per_second{counter="total"})`,
		influx("total_pps", "fastnetmon_total", "", `"direction", "family"`),
		`aliasByNode(fastnetmon.total.*.*.total.pps, 2, 3)`,
		clickhouse("sum(total_pps)", "total", "", "direction"),
	},
	{
		"All traffic, bits", "bps",
		`sum by (direction) (fastnetmon_total_bytes_per_second{counter="total"}) * 8`,
		influx("total_bps", "fastnetmon_total", "", `"direction", "family"`),
		`aliasByNode(fastnetmon.total.*.*.total.bps, 2, 3)`,
		clickhouse("sum(total_bps)", "total", "", "direction"),
	},
	{
		"Incoming UDP packets", "pps",
		`sum by (family) (fastnetmon_total_packets_per_second{counter="udp", direction="incoming"})`,
		influx("udp_pps", "fastnetmon_total", `"direction" = 'incoming'`, `"family"`),
		`aliasByNode(fastnetmon.total.*.incoming.udp.pps, 2)`,
		clickhouse("sum(udp_pps)", "total", "direction = 'incoming'", "family"),
	},
	{
		"Incoming TCP SYN packets", "pps",
		`sum by (family) (fastnetmon_total_packets_per_second{counter="tcp_syn", direction="incoming"})`,
		influx("tcp_syn_pps", "fastnetmon_total", `"direction" = 'incoming'`, `"family"`),
		`aliasByNode(fastnetmon.total.*.incoming.tcp_syn.pps, 2)`,
		clickhouse("sum(tcp_syn_pps)", "total", "direction = 'incoming'", "family"),
	},
	{
		"Networks, bits", "bps",
		`fastnetmon_network_bytes_per_second{counter="total"} * 8`,
		influx("total_bps", "fastnetmon_network", "", `"network", "direction"`),
		`aliasByNode(fastnetmon.network.*.*.total.bps, 2, 3)`,
		clickhouse("max(total_bps)", "network", "", "network, direction"),
	},
	{
		"Hostgroups, packets", "pps",
		`fastnetmon_hostgroup_packets_per_second{counter="total"}`,
		influx("total_pps", "fastnetmon_hostgroup", "", `"hostgroup", "direction"`),
		`aliasByNode(fastnetmon.hostgroup.*.*.total.pps, 2, 3)`,
		clickhouse("max(total_pps)", "hostgroup", "", "hostgroup, direction"),
	},
	{
		"Hosts that receive most, packets", "pps",
		`topk(10, fastnetmon_host_packets_per_second{counter="total", direction="incoming"})`,
		influx("total_pps", "fastnetmon_host", `"direction" = 'incoming'`, `"host"`),
		`highestMax(aliasByNode(fastnetmon.host.*.incoming.total.pps, 2), 10)`,
		"SELECT time, host, max(total_pps) AS y FROM fastnetmon.host WHERE $__timeFilter(time) AND direction = 'incoming' AND host IN " +
			"(SELECT host FROM fastnetmon.host WHERE $__timeFilter(time) AND direction = 'incoming' GROUP BY host ORDER BY max(total_pps) DESC LIMIT 10) GROUP BY time, host ORDER BY time",
	},
	{
		"Attacks in progress", "short",
		`sum(fastnetmon_attacks_open) or vector(0)`,
		`SELECT mean("attacks") FROM "fastnetmon_state" WHERE $timeFilter GROUP BY time($__interval) fill(none)`,
		`fastnetmon.attacks_open`,
		"",
	},
	{
		"Peaks of attacks", "pps",
		`fastnetmon_attack_peak_packets_per_second`,
		influx("peak_pps", "fastnetmon_attack", "", `"target", "direction"`),
		`aliasByNode(fastnetmon.attack.*.*.peak_pps, 2, 3)`,
		clickhouse("max(peak_pps)", "event", "event LIKE 'attack.%'", "target"),
	},
	{
		"Records received", "short",
		`rate(fastnetmon_input_records_received_total[1m])`,
		influx("received", "fastnetmon_input", "", `"input"`),
		`aliasByNode(fastnetmon.input.*.received, 2)`,
		clickhouse("max(received)", "input", "", "input"),
	},
	{
		"Records lost or left out", "short",
		`sum by (input, cause) (rate(fastnetmon_input_records_dropped_total[1m]))`,
		`SELECT mean(/^dropped_/) FROM "fastnetmon_input" WHERE $timeFilter GROUP BY time($__interval), "input" fill(none)`,
		`aliasByNode(fastnetmon.input.*.dropped.*, 2, 4)`,
		clickhouse("max(dropped)", "input", "", "input"),
	},
	{
		"Plugins that run", "short",
		`fastnetmon_plugin_up`,
		influx("value", "fastnetmon_system", `"name" = 'plugin_up'`, `"plugin"`),
		`fastnetmon.system.plugin_up.*`,
		clickhouse("max(value)", "system", "name = 'plugin_up'", "labels"),
	},
}

// stores are the dashboards: the type of Grafana's data source, and how a
// query stands in a panel.
var stores = map[string]struct {
	source string
	query  func(p *panel) (text string, target map[string]any)
}{
	"prometheus": {"prometheus", func(p *panel) (string, map[string]any) {
		return p.prometheus, map[string]any{"expr": p.prometheus}
	}},
	"influxdb": {"influxdb", func(p *panel) (string, map[string]any) {
		return p.influxdb, map[string]any{"query": p.influxdb, "rawQuery": true, "resultFormat": "time_series"}
	}},
	"graphite": {"graphite", func(p *panel) (string, map[string]any) {
		return p.graphite, map[string]any{"target": p.graphite}
	}},
	"clickhouse": {"grafana-clickhouse-datasource", func(p *panel) (string, map[string]any) {
		return p.clickhouse, map[string]any{"rawSql": p.clickhouse, "editorType": "sql", "queryType": "timeseries"}
	}},
}

// Dashboard is the JSON of the dashboard of a store: prometheus, influxdb,
// graphite or clickhouse.
func Dashboard(store string) ([]byte, error) {
	s, ok := stores[store]
	if !ok {
		return nil, fmt.Errorf("there is no dashboard for %q", store)
	}
	source := map[string]any{"type": s.source, "uid": "${source}"}
	var out []map[string]any
	for i := range panels {
		text, target := s.query(&panels[i])
		if text == "" {
			continue
		}
		target["refId"], target["datasource"] = "A", source
		n := len(out)
		out = append(out, map[string]any{
			"id": n + 1, "type": "timeseries", "title": panels[i].title, "datasource": source, "targets": []any{target},
			"gridPos":     map[string]int{"x": n % 2 * 12, "y": n / 2 * 8, "w": 12, "h": 8},
			"fieldConfig": map[string]any{"defaults": map[string]any{"unit": panels[i].unit, "min": 0}, "overrides": []any{}},
		})
	}
	text, err := json.MarshalIndent(map[string]any{
		"uid": "fastnetmon-" + store, "title": "FastNetMon (" + store + ")", "tags": []string{"fastnetmon"}, "schemaVersion": 39, "editable": true, "refresh": "10s",
		"time":       map[string]string{"from": "now-1h", "to": "now"},
		"templating": map[string]any{"list": []any{map[string]any{"name": "source", "label": "Data source", "type": "datasource", "query": s.source}}},
		"panels":     out,
	}, "", "  ")
	return append(text, '\n'), err
}
