package config

import "slices"

// maxLengths is how many different prefix lengths of one family the thresholds
// of a hostgroup may be about: each costs a table of its own.
const maxLengths = 8

// prefixLengths reads two lengths: of IPv4 and of IPv6 prefixes.
func (b body) prefixLengths(name string) (out [2]uint8) {
	items, n := b.items(name)
	if n < 0 {
		return out
	}
	if n != 2 || len(items) != 2 {
		b.l.errorf(b.attr(name).Expr.Range(), "Invalid prefix length", "%q takes two lengths, of IPv4 and of IPv6 prefixes: write %s = [24, 48].", name, name)
		return out
	}
	for family, most := range []int64{32, 128} {
		v, ok := whole(items[family].Value, 1, most)
		if !ok {
			b.l.errorf(items[family].at, "Invalid prefix length", "%s is not a length of IPv%d prefixes: it takes 1 to %d. The first length is that of IPv4, the second that of IPv6.",
				items[family].text(), 4+2*family, most)
			return [2]uint8{}
		}
		out[family] = uint8(v)
	}
	return out
}

// checkScope looks whether the scope and the prefix length of a merged
// threshold go together.
func (l *loader) checkScope(t *threshold, m *Threshold) {
	switch {
	case m.Scope != "prefix" && t.PrefixLen != [2]uint8{}:
		l.errorf(m.Range, "Prefix length without its scope", "threshold %q has a prefix_length, but its scope is %q. Write scope = \"prefix\", or remove prefix_length.", m.Name, m.Scope)
	case m.Scope == "prefix" && m.PrefixLen == [2]uint8{} && !t.noLength:
		l.errorf(m.Range, "Prefix length missing", "threshold %q is about prefixes and does not say how long they are. Write prefix_length = [24, 48], for IPv4 and IPv6.", m.Name)
	}
	if m.Scope != "prefix" {
		m.PrefixLen = [2]uint8{}
	}
}

// checkGroupScopes looks at what only the whole group tells of its scopes.
func (l *loader) checkGroupScopes(g *HostGroup, isBase bool) {
	var lengths [2][]uint8
	for _, t := range g.Thresholds {
		switch t.Scope {
		case "prefix":
			if t.PrefixLen[1] > g.V6Host {
				l.errorf(t.Range, "Prefixes longer than hosts", "threshold %q is about /%d prefixes, but a host of hostgroup.%s is a /%d in IPv6 (v6_host_length). Write a prefix_length of at most %d.", t.Name, t.PrefixLen[1], g.Name, g.V6Host, g.V6Host)
			}
			for family, n := range t.PrefixLen {
				if n > 0 && !slices.Contains(lengths[family], n) {
					lengths[family] = append(lengths[family], n)
				}
			}
			if n := max(len(lengths[0]), len(lengths[1])); n == maxLengths+1 {
				l.errorf(t.Range, "Too many prefix lengths", "The thresholds of hostgroup.%s are about prefixes of more than %d different lengths. Use fewer.", g.Name, maxLengths)
				return
			}
		case "network":
			if own := l.own[g]; len(g.Networks) == 0 && !isBase && own.declares(t.Name) {
				l.hint(t.Range, "Threshold without a network", "threshold %q is about whole networks, and hostgroup.%s has none: it never fires. A network has the limits of the hostgroup that names it: write networks = [network.NAME].", t.Name, g.Name)
			}
		}
	}
}

// declares tells whether a group has a threshold block of a name itself.
func (g *group) declares(name string) bool {
	return slices.ContainsFunc(g.thresholds, func(t *threshold) bool { return t.Name == name })
}
