package report

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// The document has the original's fields in its order.
func TestDocument(t *testing.T) {
	e := attack()
	got, err := Document(e, "ban")
	if err != nil {
		t.Fatal(err)
	}
	sdktest.Golden(t, "testdata/document.json", string(append(got, '\n')), *update)
	e.Target, e.HostGroup, e.Evidence = netip.MustParsePrefix("2001:db8::1/128"), "default", nil
	e.Incoming = []sdk.CounterRate{{Counter: "total", PPS: 10.9, BPS: 100.9}}
	if got, err = Document(e, "unban"); err != nil {
		t.Fatal(err)
	}
	var d struct {
		IP, Action string
		Details    map[string]any `json:"attack_details"`
		Packets    []any          `json:"packet_dump_detailed"`
	}
	if err := json.Unmarshal(got, &d); err != nil {
		t.Fatal(err)
	}
	if d.IP != "2001:db8::1" || d.Action != "unban" || d.Details["protocol_version"] != "IPv6" || d.Details["host_group"] != "global" ||
		d.Details["total_incoming_traffic"] != 12.0 || d.Details["total_incoming_traffic_bits"] != 100.0 || d.Details["total_incoming_pps"] != 10.0 || d.Packets != nil {
		t.Errorf("%s", got)
	}
}
