package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

func (f *fakeDaemon) Tables(_ context.Context, name string) ([]api.PluginTable, error) {
	if f.empty || name != "exporters" {
		return nil, nil
	}
	tables := []api.PluginTable{
		{Plugin: "netflow.routers", Rows: sdk.Rows{
			Columns: []string{"exporter", "address", "site", "protocol", "domain", "records/s", "sampling", "sampling from", "no template", "last seen", "notes"},
			Rows: [][]string{
				{"fra_r1", "192.0.2.1:50000", "fra", "netflow9", "0", "1234.5", "1000", "options", "3", "2s", ""},
				{"192.0.2.77", "192.0.2.77:2055", "", "netflow5", "4", "0.0", "1", "unknown", "0", "1h3m0s", "exporter_sampling_unknown\x1b[2J"},
			},
		}},
		{Plugin: "sflow.switches", Rows: sdk.Rows{
			Columns: []string{"exporter", "agent", "sampling"},
			Rows:    [][]string{{"ams_s1", "10.0.0.1", "8192"}},
		}},
	}
	if f.silent {
		tables[1] = api.PluginTable{Plugin: "sflow.switches", Error: "it does not answer"}
	}
	return tables, nil
}

func (f *fakeDaemon) Doctor(context.Context) ([]api.Check, error) {
	if f.empty {
		return nil, nil
	}
	state := "warn"
	if f.silent {
		state = "fault"
	}
	return []api.Check{
		{Input: "sflow.switches", Name: "datagrams", State: state, Detail: "no datagram has arrived"},
		{Input: "netflow.routers", Name: "bound", State: "ok", Detail: "listening on 0.0.0.0:2055"},
		{Name: "direction", State: "ok", Detail: "5000 packets a second come in, 20 go out"},
	}, nil
}

func TestFaultsGiveAnExitCode(t *testing.T) {
	socket, _ := serveFake(t, &fakeDaemon{silent: true})
	for command, says := range map[string]string{"exporters": "sflow.switches: it does not answer", "doctor": ""} {
		var out sdktest.Output
		_, code, err := ask(t.Context(), &out, command, "--socket", socket)
		if code != exitFailure || !strings.Contains(err.Error(), says) || !strings.Contains(out.String(), "EXPORTER") && !strings.HasPrefix(out.String(), "STATE") {
			t.Errorf("%s: exit status %d, %v\n%s", command, code, err, out.String())
		}
	}
}

func TestExitOf(t *testing.T) {
	for states, want := range map[string]int{"": 0, "ok": 0, "ok warn ok": exitWarning, "warn fault ok": exitFailure, "fault": exitFailure} {
		var checks []api.Check
		for state := range strings.FieldsSeq(states) {
			checks = append(checks, api.Check{State: state})
		}
		code := 0
		var coded *exitError
		if errors.As(exitOf(checks), &coded) {
			code = coded.code
		}
		if code != want {
			t.Errorf("%q: exit status %d, want %d", states, code, want)
		}
	}
}
