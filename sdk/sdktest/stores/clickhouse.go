package stores

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

const clickHouseConfig = `<yandex>
 <logger><level>warning</level><console>1</console></logger>
 <listen_host>127.0.0.1</listen_host>
 <http_port>%[2]d</http_port><tcp_port>%[3]d</tcp_port><interserver_http_port>%[4]d</interserver_http_port>
 <path>%[1]s/data/</path><tmp_path>%[1]s/tmp/</tmp_path><format_schema_path>%[1]s/fmt/</format_schema_path>
 <users_config>%[1]s/users.xml</users_config>
 <default_profile>default</default_profile><default_database>default</default_database>
 <mark_cache_size>104857600</mark_cache_size><uncompressed_cache_size>0</uncompressed_cache_size>
 <max_concurrent_queries>20</max_concurrent_queries>
 <timezone>UTC</timezone>
</yandex>
`

const clickHouseUsers = `<yandex><profiles><default><max_memory_usage>2000000000</max_memory_usage></default></profiles>
<users><default><password>secret</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default></users>
<quotas><default/></quotas></yandex>
`

// ClickHouse is a ClickHouse whose user "default" has the password "secret".
type ClickHouse struct {
	*sdktest.Server
	Native int // the port of its own protocol
	web    string
}

// NewClickHouse starts one.
func NewClickHouse(t testing.TB) *ClickHouse {
	t.Helper()
	dir, web := t.TempDir(), sdktest.FreePort(t)
	c := &ClickHouse{Native: sdktest.FreePort(t), web: fmt.Sprintf("http://127.0.0.1:%d/?password=secret", web)}
	config := write(t, filepath.Join(dir, "config.xml"), fmt.Sprintf(clickHouseConfig, dir, web, c.Native, sdktest.FreePort(t)))
	write(t, filepath.Join(dir, "users.xml"), clickHouseUsers)
	c.Server = sdktest.NewServer(t, func() error { _, err := c.Ask("SELECT 1 AS one"); return err }, nil, "clickhouse-server", "--config-file="+config)
	return c
}

// Ask runs a query through the HTTP interface and returns its rows.
func (c *ClickHouse) Ask(query string) (out []map[string]any, err error) {
	text, err := Get(context.Background(), c.web+"&query="+url.QueryEscape(query+" FORMAT JSONEachRow"), "")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		row := map[string]any{}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}
