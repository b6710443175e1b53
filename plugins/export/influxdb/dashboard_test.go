package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// dashboard wants data from every query of the dashboard for InfluxDB.
func dashboard(t *testing.T, base string) {
	t.Helper()
	for _, p := range sdktest.Dashboard(t, "../../../examples/dashboards/influxdb.json", "$timeFilter", "time > now() - 1h", "$__interval", "10s") {
		sdktest.Until(t, p.Title+": "+p.Query, func() error {
			text, err := get(t, base+"/query?"+url.Values{"db": {"fastnetmon"}, "q": {p.Query}}.Encode(), "admin")
			if err != nil {
				return err
			}
			var answer struct {
				Results []struct {
					Error  string
					Series []json.RawMessage
				}
			}
			if err := json.Unmarshal([]byte(text), &answer); err != nil {
				return err
			}
			if len(answer.Results) != 1 || answer.Results[0].Error != "" || len(answer.Results[0].Series) == 0 {
				return fmt.Errorf("no data: %.300s", text)
			}
			return nil
		})
	}
}
