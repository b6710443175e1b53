package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

// database is a ClickHouse.
type database struct {
	cfg    config
	log    hclog.Logger
	conn   driver.Conn
	warned bool
}

// Connect connects, and makes the database and the tables that are missing, and
// columns that tables of an earlier version do not have.
func (d *database) Connect(ctx context.Context) error {
	if err := d.Close(); err != nil {
		return err
	}
	tls, err := d.cfg.TLS.Config()
	if err != nil {
		return err
	}
	d.conn, err = clickhouse.Open(&clickhouse.Options{
		Addr: []string{d.cfg.Address}, TLS: tls, Auth: clickhouse.Auth{Username: d.cfg.User, Password: d.cfg.Password},
		DialTimeout: d.cfg.Delivery.Timeout, ReadTimeout: d.cfg.Delivery.Timeout, MaxOpenConns: 2, MaxIdleConns: 1,
		Compression: &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
	})
	if err != nil {
		return err
	}
	return d.migrate(ctx)
}

// Close ends the connections.
func (d *database) Close() error {
	if d.conn == nil {
		return nil
	}
	err := d.conn.Close()
	d.conn = nil
	return err
}

func (d *database) tables() []*table {
	if d.cfg.Layout == delivery.LayoutFastNetMon {
		return communityTables
	}
	return nativeTables
}

func (d *database) migrate(ctx context.Context) error {
	server, err := d.conn.ServerVersion()
	if err != nil {
		return err
	}
	v := server.Version
	ttl := v.Major > 19 || v.Major == 19 && v.Minor >= 6 // ClickHouse 19.6 learnt to let rows go by themselves
	if !ttl && !d.warned && d.log != nil {
		d.warned = true
		d.log.Warn("this ClickHouse keeps rows for ever: versions before 19.6 have no TTL. Drop old partitions by hand", "version", v.String())
	}
	if err := d.conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+d.cfg.Database); err != nil {
		return fmt.Errorf("the database cannot be made: %w", err)
	}
	for _, t := range d.tables() {
		if err := d.conn.Exec(ctx, t.definition(d.cfg.Database, d.cfg.Days, ttl)); err != nil {
			return fmt.Errorf("table %s cannot be made: %w", t.name, err)
		}
		if err := d.addColumns(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// addColumns adds what a table of an earlier version lacks.
func (d *database) addColumns(ctx context.Context, t *table) error {
	there, err := d.texts(ctx, "SELECT name FROM system.columns WHERE database = '"+d.cfg.Database+"' AND table = '"+t.name+"'")
	if err != nil {
		return fmt.Errorf("the columns of table %s cannot be read: %w", t.name, err)
	}
	for _, c := range t.columns {
		if there[c.name] {
			continue
		}
		if err := d.conn.Exec(ctx, fmt.Sprintf("ALTER TABLE %s.%s ADD COLUMN %s %s", d.cfg.Database, t.name, c.name, c.kind)); err != nil {
			return fmt.Errorf("table %s cannot be given the column %s: %w", t.name, c.name, err)
		}
	}
	return nil
}

// texts runs a query of one text a row.
func (d *database) texts(ctx context.Context, query string) (map[string]bool, error) {
	result, err := d.conn.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for result.Next() {
		var s string
		if err := result.Scan(&s); err != nil {
			return nil, errors.Join(err, result.Close())
		}
		out[s] = true
	}
	return out, errors.Join(result.Err(), result.Close())
}

// Snapshot writes a snapshot, table by table.
func (d *database) Snapshot(ctx context.Context, s *sdk.Snapshot) error {
	all := nativeRows
	if d.cfg.Layout == delivery.LayoutFastNetMon {
		all = communityRows
	}
	for _, r := range all(s) {
		if err := d.write(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// Events writes events, and mitigations by themselves too; those that may be there
// already are looked for. The
// original has no table for them.
func (d *database) Events(ctx context.Context, b delivery.Batch) error {
	if d.cfg.Layout == delivery.LayoutFastNetMon {
		return nil
	}
	all, err := eventRows(b.Events)
	if err != nil {
		return delivery.Refused(err)
	}
	for _, r := range all {
		if b.Again {
			had, err := d.written(ctx, r)
			if err != nil {
				return err
			}
			r.rows = slices.DeleteFunc(r.rows, func(values []any) bool { return had[eventID(values)] })
		}
		if err := d.write(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// eventID is the second column of what tells of events.
func eventID(values []any) string { return values[1].(string) }

// quote makes a text fit to stand in single quotes; the client's own way of
// binding a list is not understood by old servers.
var quote = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

// written are those of events that are in their table.
func (d *database) written(ctx context.Context, r *rows) (map[string]bool, error) {
	if len(r.rows) == 0 {
		return nil, nil
	}
	ids := make([]string, len(r.rows))
	for i, values := range r.rows {
		ids[i] = "'" + quote.Replace(eventID(values)) + "'"
	}
	return d.texts(ctx, "SELECT event_id FROM "+d.cfg.Database+"."+r.table.name+" WHERE event_id IN ("+strings.Join(ids, ",")+")")
}

// write writes rows in one block.
func (d *database) write(ctx context.Context, r *rows) error {
	if len(r.rows) == 0 {
		return nil
	}
	batch, err := d.conn.PrepareBatch(ctx, r.table.insert(d.cfg.Database))
	if err != nil {
		return err
	}
	for _, values := range r.rows {
		if err := batch.Append(values...); err != nil {
			return delivery.Refused(errors.Join(fmt.Errorf("table %s: %w", r.table.name, err), batch.Abort()))
		}
	}
	return batch.Send()
}
