// Package prometheus tests the alert rules.
package prometheus

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// promtool runs it. In CI a missing one fails.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), sdktest.Program(t, "promtool"), args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestConfiguration(t *testing.T) { promtool(t, "check", "config", "prometheus.yml") }

func TestRules(t *testing.T) { promtool(t, "check", "rules", "--lint-fatal", "alerts.yml") }

func TestAlerts(t *testing.T) { promtool(t, "test", "rules", "alerts_test.yml") }

// Every alert has a test in which it fires and one in which it does not.
func TestEveryAlertIsTested(t *testing.T) {
	rules, tests := read(t, "alerts.yml"), read(t, "alerts_test.yml")
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(rules, -1)
	if len(alerts) < 8 {
		t.Fatalf("found %d alerts: the search is broken", len(alerts))
	}
	for _, m := range alerts {
		for _, want := range []string{"exp_alerts: \\[\\]", "exp_alerts:\n +- exp_labels"} {
			if !regexp.MustCompile(`alertname: ` + m[1] + `\n +` + want).MatchString(tests) {
				t.Errorf("%s has no test with %s", m[1], want)
			}
		}
	}
}

// Every metric that the rules name is one that the export has.
func TestMetricsExist(t *testing.T) {
	documented := read(t, "../../plugins/export/prometheus/README.md")
	for _, name := range regexp.MustCompile(`\bfastnetmon_\w+`).FindAllString(read(t, "alerts.yml"), -1) {
		if !strings.Contains(documented, "| `"+name+"` |") {
			t.Errorf("the README of the export does not list %s", name)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
