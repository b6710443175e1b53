package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

// batchLines is how many lines go into one request: what InfluxDB advises.
const batchLines = 5000

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4096

// database is an InfluxDB.
type database struct {
	cfg    config
	client *http.Client
}

// Connect makes a client, which connects when it writes.
func (d *database) Connect(context.Context) error {
	tls, err := d.cfg.TLS.Config()
	if err != nil {
		return err
	}
	_ = d.Close()
	d.client = &http.Client{
		Transport:     &http.Transport{TLSClientConfig: tls, Proxy: http.ProxyFromEnvironment, MaxIdleConns: 2},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return nil
}

// Close ends idle connections.
func (d *database) Close() error {
	if d.client != nil {
		d.client.CloseIdleConnections()
	}
	return nil
}

// Snapshot writes a snapshot. Written again, points replace themselves.
func (d *database) Snapshot(ctx context.Context, s *sdk.Snapshot) error {
	if d.cfg.Layout == delivery.LayoutFastNetMon {
		return d.write(ctx, communityRows(s))
	}
	return d.write(ctx, nativeRows(s))
}

// Events writes events. The original has none.
func (d *database) Events(ctx context.Context, b delivery.Batch) error {
	if d.cfg.Layout == delivery.LayoutFastNetMon {
		return nil
	}
	rows := make([]row, len(b.Events))
	for i := range b.Events {
		rows[i] = eventRow(&b.Events[i])
	}
	return d.write(ctx, rows)
}

func (d *database) write(ctx context.Context, rows []row) error {
	var body []byte
	for len(rows) > 0 {
		batch := rows[:min(len(rows), batchLines)]
		rows = rows[len(batch):]
		body = body[:0]
		for i := range batch {
			body = appendRow(body, &batch[i])
		}
		if err := d.post(ctx, body); err != nil {
			return err
		}
	}
	return nil
}

// post writes a body of lines, if need be once the database is there.
func (d *database) post(ctx context.Context, body []byte) error {
	status, answer, err := d.request(ctx, d.writeURL(), body, d.cfg.Gzip)
	if err != nil {
		return err
	}
	if status == http.StatusNotFound && d.cfg.Version == 1 && strings.Contains(answer, "database not found") {
		query := "/query?" + url.Values{"q": {`CREATE DATABASE "` + escapeString.Replace(d.cfg.Database) + `"`}}.Encode()
		if status, answer, err = d.request(ctx, query, nil, false); err == nil && status == http.StatusOK {
			status, answer, err = d.request(ctx, d.writeURL(), body, d.cfg.Gzip)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case status/100 == 2:
		return nil
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		return delivery.Refused(fmt.Errorf("InfluxDB refuses what it was sent: %d %s", status, answer))
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Errorf("InfluxDB does not let us write (user and password, or token): %d %s", status, answer)
	}
	return fmt.Errorf("InfluxDB has not written: %d %s", status, answer)
}

func (d *database) writeURL() string {
	if d.cfg.Version == 2 {
		q := url.Values{"bucket": {d.cfg.Bucket}, "precision": {"ns"}}
		if d.cfg.Org != "" {
			q.Set("org", d.cfg.Org)
		}
		return "/api/v2/write?" + q.Encode()
	}
	return "/write?" + url.Values{"db": {d.cfg.Database}}.Encode()
}

// request posts a body and returns the status and the beginning of the answer.
func (d *database) request(ctx context.Context, path string, body []byte, zip bool) (status int, answer string, err error) {
	var packed bytes.Buffer
	if zip {
		w, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed) // the level is a good one
		if _, err := w.Write(body); err != nil {
			return 0, "", err
		}
		if err := w.Close(); err != nil {
			return 0, "", err
		}
		body = packed.Bytes()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(d.cfg.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if zip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	req.Header.Set("User-Agent", "fastnetmon/"+version)
	switch {
	case d.cfg.Token != "":
		req.Header.Set("Authorization", "Token "+d.cfg.Token)
	case d.cfg.User != "":
		req.SetBasicAuth(d.cfg.User, d.cfg.Password)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, strings.TrimSpace(string(text)), errors.Join(err, resp.Body.Close())
}
