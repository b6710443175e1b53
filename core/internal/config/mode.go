package config

// EffectiveMode is what is done about an attack of group g by threshold t
// through action a; each may be nil. Unset inherits, and one "monitor" among
// daemon, group, threshold and action means monitor.
func (c *Config) EffectiveMode(g *HostGroup, t *Threshold, a *Plugin) Mode {
	modes := []Mode{either(c.Daemon.Mode, Monitor)}
	if g != nil {
		modes = append(modes, g.Mode)
	}
	if t != nil {
		modes = append(modes, t.Mode)
	}
	if a != nil {
		modes = append(modes, a.Mode)
	}
	for _, m := range modes {
		if m == Monitor {
			return Monitor
		}
	}
	return Enforce
}
