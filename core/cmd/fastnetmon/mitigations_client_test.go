package main

import (
	"context"
	"net/netip"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
	"github.com/fastnetmon-go/fastnetmon/core/internal/mitigate"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func (f *fakeDaemon) Mitigations(context.Context, int) ([]sdk.MitigationReport, error) {
	return nil, nil
}

func (f *fakeDaemon) Audit(context.Context, int) ([]mitigate.Audit, error) { return nil, nil }

func (f *fakeDaemon) Ban(context.Context, api.BanQuery) ([]sdk.MitigationReport, error) {
	return nil, nil
}

func (f *fakeDaemon) Unban(context.Context, api.UnbanQuery) ([]sdk.MitigationReport, error) {
	return nil, nil
}

func (f *fakeDaemon) Decide(context.Context, api.DecideQuery) ([]sdk.MitigationReport, error) {
	return nil, nil
}

func (f *fakeDaemon) TestAction(context.Context, string, netip.Prefix) (api.ActionTest, error) {
	return api.ActionTest{}, nil
}
