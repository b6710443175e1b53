package host

import (
	"encoding/json"
	"fmt"
	"net"

	"github.com/hashicorp/go-plugin"
)

// reattach is one entry of EnvReattach's JSON object. A plugin started with
// -debug prints it.
type reattach struct {
	Protocol        string
	ProtocolVersion int
	Pid             int
	Test            bool
	Addr            struct{ Network, String string }
}

// Reattach reads the value of EnvReattach: a JSON object from "<kind>.<name>"
// to where the plugin listens. A launcher gives the result to
// plugin.ClientConfig.Reattach, and sets Plugins, not VersionedPlugins, to
// PluginSets()[config.ProtocolVersion]; AutoMTLS and checksums do not apply.
func Reattach(value string) (map[string]*plugin.ReattachConfig, error) {
	if value == "" {
		return nil, nil
	}
	var in map[string]reattach
	if err := json.Unmarshal([]byte(value), &in); err != nil {
		return nil, fmt.Errorf("%s is no JSON object as a plugin's -debug prints it: %w", EnvReattach, err)
	}
	out := make(map[string]*plugin.ReattachConfig, len(in))
	for name, r := range in {
		if _, ok := PluginSets()[r.ProtocolVersion]; !ok || r.Protocol != string(plugin.ProtocolGRPC) {
			return nil, fmt.Errorf("%s: plugin %s speaks %s version %d, which this program does not", EnvReattach, name, r.Protocol, r.ProtocolVersion)
		}
		config := &plugin.ReattachConfig{
			Protocol: plugin.ProtocolGRPC, ProtocolVersion: r.ProtocolVersion, Pid: r.Pid, Test: true,
		}
		switch r.Addr.Network {
		case "unix":
			config.Addr = &net.UnixAddr{Net: "unix", Name: r.Addr.String}
		case "tcp":
			addr, err := net.ResolveTCPAddr("tcp", r.Addr.String)
			if err != nil {
				return nil, fmt.Errorf("%s: plugin %s: %w", EnvReattach, name, err)
			}
			config.Addr = addr
		default:
			return nil, fmt.Errorf("%s: plugin %s: network %q is neither unix nor tcp", EnvReattach, name, r.Addr.Network)
		}
		out[name] = config
	}
	return out, nil
}
