package dashboards

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
	servers "github.com/fastnetmon-go/fastnetmon/sdk/sdktest/stores"
)

var update = flag.Bool("update", false, "write the dashboards anew")

// The dashboards are those that the list of panels makes.
func TestGenerated(t *testing.T) {
	for store := range stores {
		got, err := Dashboard(store)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(store+".json", got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(store + ".json")
		if err != nil || string(want) != string(got) {
			t.Errorf("%s.json is not what the list of panels makes: run the test with -update (%v)", store, err)
		}
	}
}

// Every query of the dashboard gives something in a Prometheus that scrapes what
// the export shows. (The other stores' are run beside their exports.)
func TestPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Prometheus")
	}
	metrics, err := os.ReadFile("../../plugins/export/prometheus/testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	shown := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write(metrics) // the scraper may have gone
	}))
	defer shown.Close()
	_, base := servers.NewPrometheus(t, strings.TrimPrefix(shown.URL, "http://"))
	for _, p := range sdktest.Dashboard(t, "prometheus.json") {
		sdktest.Until(t, p.Title+": "+p.Query, func() error {
			resp, err := http.PostForm(base+"/api/v1/query", url.Values{"query": {p.Query}})
			if err != nil {
				return err
			}
			defer func() { _ = resp.Body.Close() }()
			var answer struct {
				Status, Error string
				Data          struct{ Result []json.RawMessage }
			}
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
				return err
			}
			if answer.Status != "success" || len(answer.Data.Result) == 0 {
				return fmt.Errorf("%s, %s, %d series", answer.Status, answer.Error, len(answer.Data.Result))
			}
			return nil
		})
	}
}
