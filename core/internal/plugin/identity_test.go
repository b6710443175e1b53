package plugin

import (
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestIdentityMistakes(t *testing.T) {
	log := hclog.NewNullLogger()
	if _, err := resolveIdentity("no-such-user-here", nil, log); err == nil || !strings.Contains(err.Error(), "no-such-user-here") {
		t.Errorf("user: %v", err)
	}
	if _, err := resolveCapabilities([]string{"CAP_NET_RAV"}, log); err == nil || !strings.Contains(err.Error(), "CAP_NET_RAW") {
		t.Errorf("capability: %v", err)
	}
}
