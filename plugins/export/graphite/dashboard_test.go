package main

import (
	"fmt"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// dashboard wants data from every query of the dashboard for Graphite.
func (b *bed) dashboard() {
	b.t.Helper()
	for _, p := range sdktest.Dashboard(b.t, "../../../examples/dashboards/graphite.json") {
		sdktest.Until(b.t, p.Title+": "+p.Query, func() error {
			got, err := b.Render(p.Query)
			if err == nil && len(got) == 0 {
				err = fmt.Errorf("no data")
			}
			return err
		})
	}
}
