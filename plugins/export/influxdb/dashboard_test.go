package main

import (
	"errors"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/stores"
)

// dashboard wants data from every query of the dashboard for InfluxDB.
func dashboard(t *testing.T, db *stores.InfluxDB) {
	t.Helper()
	for _, p := range sdktest.Dashboard(t, "../../../examples/dashboards/influxdb.json", "$timeFilter", "time > now() - 1h", "$__interval", "10s") {
		sdktest.Until(t, p.Title+": "+p.Query, func() error {
			series, err := db.Query(t.Context(), "fastnetmon", p.Query)
			if err != nil {
				return err
			}
			if len(series) == 0 {
				return errors.New("no data")
			}
			return nil
		})
	}
}
