package api

import (
	"github.com/fastnetmon-go/fastnetmon/core/internal/api/apiv1"
	"github.com/fastnetmon-go/fastnetmon/sdk"
)

func tableOut(t PluginTable) *apiv1.PluginTable {
	out := &apiv1.PluginTable{Plugin: text(t.Plugin), Columns: each(t.Rows.Columns, text), Error: text(t.Error)}
	for _, cells := range t.Rows.Rows {
		out.Rows = append(out.Rows, &apiv1.TableRow{Cells: each(cells, text)})
	}
	return out
}

func tableIn(t *apiv1.PluginTable) PluginTable {
	out := PluginTable{Plugin: t.GetPlugin(), Rows: sdk.Rows{Columns: t.GetColumns()}, Error: t.GetError()}
	for _, row := range t.GetRows() {
		out.Rows.Rows = append(out.Rows.Rows, row.GetCells())
	}
	return out
}

func checkOut(c Check) *apiv1.Check {
	return &apiv1.Check{Input: text(c.Input), Name: text(c.Name), State: text(c.State), Detail: text(c.Detail)}
}

func checkIn(c *apiv1.Check) Check {
	return Check{Input: c.GetInput(), Name: c.GetName(), State: c.GetState(), Detail: c.GetDetail()}
}
