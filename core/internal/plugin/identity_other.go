//go:build !linux

package plugin

import (
	"os"

	"github.com/hashicorp/go-hclog"
)

func mayChangeUser() bool { return os.Geteuid() == 0 }

func resolveCapabilities(names []string, log hclog.Logger) ([]uintptr, error) {
	if len(names) > 0 {
		log.Warn("process.capabilities has no meaning on this system", "capabilities", names)
	}
	return nil, nil
}

func restrictThread(identity) error { return nil }

func (identity) keepsAll() bool { return false }

func (id identity) String() string { return id.user }
