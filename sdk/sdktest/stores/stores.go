// Package stores starts the real databases that tests of exporters write to, on
// ports of the loopback interface and in folders of their own, and asks them in
// their own ways. A test's end ends them.
package stores

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// write puts text into a file, and makes its folder.
func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tool is the path of a program that .ci/install has built.
func tool(t testing.TB, name string) string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; root != filepath.Dir(root); root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
	}
	return filepath.Join(root, ".cache", "tools", name)
}

// do makes a request and returns the answer; one whose status is no success is
// an error.
func do(req *http.Request) (string, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %.500s", resp.Status, text)
	}
	return string(text), err
}

// Get asks a server, as a user with the password "secret" unless that is "", and
// returns what it answers.
func Get(ctx context.Context, address, user string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", err
	}
	if user != "" {
		req.SetBasicAuth(user, "secret")
	}
	return do(req)
}

// post sends a form and returns what the server answers.
func post(ctx context.Context, address string, form url.Values) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(req)
}

// Redis is a Redis whose every write is on disk before it is answered.
type Redis struct {
	*sdktest.Server
	cli []string
}

// NewRedis starts one with some arguments more; cli are those that redis-cli
// reaches it with.
func NewRedis(t testing.TB, args, cli []string) *Redis {
	t.Helper()
	r := &Redis{cli: cli}
	args = append(slices.Clone(args), "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--dir", t.TempDir())
	r.Server = sdktest.NewServer(t, func() error {
		out, err := r.Ask("PING")
		if err == nil && strings.TrimSpace(out) != "PONG" {
			err = errors.New(out)
		}
		return err
	}, nil, "redis-server", args...)
	return r
}

// Ask runs a command through redis-cli.
func (r *Redis) Ask(command ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := exec.Command("redis-cli", append(append(slices.Clone(r.cli), "--no-auth-warning"), command...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	return string(out), err
}

// Hash reads a hash.
func (r *Redis) Hash(key string) (map[string]string, error) {
	text, err := r.Ask("--json", "HGETALL", key)
	out := map[string]string{}
	if err == nil {
		err = json.Unmarshal([]byte(text), &out)
	}
	return out, err
}

// Message is a message of a stream: its fields.
type Message map[string]string

// Stream reads a stream from its beginning.
func (r *Redis) Stream(key string) (out []Message, err error) {
	text, err := r.Ask("--json", "XRANGE", key, "-", "+")
	if err != nil {
		return nil, err
	}
	var messages [][2]json.RawMessage // each its id and its fields
	if err := json.Unmarshal([]byte(text), &messages); err != nil {
		return nil, err
	}
	for _, m := range messages {
		var fields []string
		if err := json.Unmarshal(m[1], &fields); err != nil {
			return nil, err
		}
		f := Message{}
		for i := 0; i+1 < len(fields); i += 2 {
			f[fields[i]] = fields[i+1]
		}
		out = append(out, f)
	}
	return out, nil
}

// InfluxDB is an InfluxDB 1 with a user "admin", whose password is "secret".
type InfluxDB struct {
	*sdktest.Server
	URL string
}

const influxConfig = `reporting-disabled = true
bind-address = "127.0.0.1:%[2]d"
[meta]
  dir = "%[1]s/meta"
[data]
  dir = "%[1]s/data"
  wal-dir = "%[1]s/wal"
  query-log-enabled = false
[http]
  enabled = true
  bind-address = "127.0.0.1:%[3]d"
  auth-enabled = true
  log-enabled = false
[monitor]
  store-enabled = false
`

// NewInfluxDB starts one.
func NewInfluxDB(t testing.TB) *InfluxDB {
	t.Helper()
	dir, port := t.TempDir(), sdktest.FreePort(t)
	config := write(t, filepath.Join(dir, "influx.conf"), fmt.Sprintf(influxConfig, dir, sdktest.FreePort(t), port))
	i := &InfluxDB{URL: fmt.Sprintf("http://127.0.0.1:%d", port)}
	i.Server = sdktest.NewServer(t, sdktest.Answers(port), nil, "influxd", "run", "-config", config)
	if _, err := post(t.Context(), i.URL+"/query", url.Values{"q": {"CREATE USER admin WITH PASSWORD 'secret' WITH ALL PRIVILEGES"}}); err != nil {
		t.Fatal(err)
	}
	return i
}

// Series is what InfluxDB answers of one series.
type Series struct {
	Columns []string
	Values  [][]any // numbers as json.Number
}

// Query asks of a database; times are Unix nanoseconds.
func (i *InfluxDB) Query(ctx context.Context, database, query string) ([]Series, error) {
	text, err := Get(ctx, i.URL+"/query?"+url.Values{"db": {database}, "epoch": {"ns"}, "q": {query}}.Encode(), "admin")
	if err != nil {
		return nil, err
	}
	var got struct {
		Results []struct {
			Error  string
			Series []Series
		}
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&got); err != nil {
		return nil, err
	}
	if len(got.Results) != 1 || got.Results[0].Error != "" {
		return nil, fmt.Errorf("%s: %.300s", query, text)
	}
	return got.Results[0].Series, nil
}

// NewVictoriaMetrics starts a VictoriaMetrics and returns its URL too.
func NewVictoriaMetrics(t testing.TB) (*sdktest.Server, string) {
	t.Helper()
	port := sdktest.FreePort(t)
	s := sdktest.NewServer(t, sdktest.Answers(port), nil, "victoria-metrics", "-storageDataPath="+t.TempDir(), fmt.Sprintf("-httpListenAddr=127.0.0.1:%d", port), "-retentionPeriod=100y")
	return s, fmt.Sprintf("http://127.0.0.1:%d", port)
}

// NewPrometheus starts a Prometheus that scrapes an address every 200 ms and
// returns its URL too.
func NewPrometheus(t testing.TB, scraped string) (*sdktest.Server, string) {
	t.Helper()
	dir, port := t.TempDir(), sdktest.FreePort(t)
	config := write(t, filepath.Join(dir, "prometheus.yml"),
		fmt.Sprintf("global: {scrape_interval: 200ms}\nscrape_configs:\n  - job_name: fastnetmon\n    static_configs:\n      - targets: [%q]\n", scraped))
	s := sdktest.NewServer(t, sdktest.Answers(port), nil, "prometheus", "--config.file="+config, "--storage.tsdb.path="+dir+"/data", fmt.Sprintf("--web.listen-address=127.0.0.1:%d", port))
	return s, fmt.Sprintf("http://127.0.0.1:%d", port)
}

// NewKafka starts a broker in memory with some arguments more and returns its
// address too.
func NewKafka(t testing.TB, args ...string) (*sdktest.Server, string) {
	t.Helper()
	port := sdktest.FreePort(t)
	s := sdktest.NewServer(t, sdktest.Answers(port), nil, tool(t, "kafka-fake"), append(args, "-port", fmt.Sprint(port))...)
	return s, fmt.Sprintf("127.0.0.1:%d", port)
}

// NewFerretDB starts a FerretDB, which speaks MongoDB's protocol, and returns its
// address too.
func NewFerretDB(t testing.TB, args ...string) (*sdktest.Server, string) {
	t.Helper()
	port := sdktest.FreePort(t)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	s := sdktest.NewServer(t, sdktest.Answers(port), nil, tool(t, "ferretdb"), append(args, "-address", address, "-dir", t.TempDir())...)
	return s, address
}

// Paused stops a server (SIGSTOP), does something meanwhile, and lets the server
// go on.
func Paused(t testing.TB, s *sdktest.Server, meanwhile func()) {
	t.Helper()
	if err := s.Process().Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	meanwhile()
	if err := s.Process().Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
