package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/core/internal/api"
)

// Tables implements api.Backend.
func (b backend) Tables(ctx context.Context, name string) ([]api.PluginTable, error) {
	tables, err := b.daemon.Tables(ctx, name)
	if err != nil {
		return nil, err
	}
	var out []api.PluginTable
	for _, t := range tables {
		table := api.PluginTable{Plugin: t.Plugin, Rows: t.Rows}
		if t.Err != nil {
			table.Error = t.Err.Error()
		}
		out = append(out, table)
	}
	return out, nil
}

// tableFaults tells of plugins that did not answer, or not in full.
func tableFaults(tables []api.PluginTable) error {
	var faults []string
	for _, t := range tables {
		if t.Error != "" {
			faults = append(faults, t.Plugin+": "+printable(t.Error))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return failure(fmt.Errorf("not all is shown: %s", strings.Join(faults, "; ")))
}

// columnsOf joins the columns of all tables, in the order of the first.
func columnsOf(tables []api.PluginTable) (out []string) {
	for _, t := range tables {
		for _, c := range t.Rows.Columns {
			if !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	return out
}

// cellsOf gives the rows of a table under other columns than its own.
func cellsOf(t *api.PluginTable, columns []string) (out [][]string) {
	at := make([]int, len(columns))
	for i, c := range columns {
		at[i] = slices.Index(t.Rows.Columns, c)
	}
	for _, cells := range t.Rows.Rows {
		row := make([]string, len(columns))
		for i, k := range at {
			if k >= 0 && k < len(cells) {
				row[i] = cells[k]
			}
		}
		out = append(out, row)
	}
	return out
}

// tableObjects makes an object of each row; its keys are the columns'
// names, "records/s" as records_per_second.
func tableObjects(tables []api.PluginTable) []map[string]string {
	key := strings.NewReplacer(" ", "_", "/s", "_per_second")
	out := []map[string]string{}
	for _, t := range tables {
		for _, cells := range cellsOf(&t, t.Rows.Columns) {
			row := map[string]string{"plugin": t.Plugin}
			for i, c := range t.Rows.Columns {
				row[key.Replace(c)] = cells[i]
			}
			out = append(out, row)
		}
	}
	return out
}

// printTables writes the named columns of all rows, or what is said where there
// are none. The plugin's column is left out where there is only one; columns that
// are not texts are numbers.
func printTables(w io.Writer, tables []api.PluginTable, names, texts []string, none string) error {
	var columns []column
	if len(tables) > 1 {
		columns = append(columns, column{"PLUGIN", false})
	}
	for _, n := range names {
		columns = append(columns, column{strings.ToUpper(n), !slices.Contains(texts, n)})
	}
	var rows [][]string
	for _, t := range tables {
		for _, cells := range cellsOf(&t, names) {
			for i := range cells {
				cells[i] = orDefault(cells[i], "-")
			}
			if len(tables) > 1 {
				cells = append([]string{t.Plugin}, cells...)
			}
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		_, err := io.WriteString(w, none)
		return err
	}
	return writeTable(w, columns, rows)
}
