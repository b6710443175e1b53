package config

import "net/netip"

// readNetworks reads our own address space.
func (l *loader) readNetworks() {
	owner := map[netip.Prefix]string{}
	var locals []*Network
	for _, blk := range l.blocks["network"] {
		b := l.open(blk, "a network", []string{"name"}, shape{attrs: []string{"prefixes", "files", "local_addresses", "internal"}})
		if !b.named {
			continue
		}
		n := &Network{Name: blk.Labels[0], Range: blk.DefRange()}
		list := b.prefixes("prefixes")
		files, listed := b.prefixFiles("files")
		n.Files = files
		for _, p := range append(list, listed...) {
			if other, dup := owner[p.Prefix]; dup && other == n.Name && p.listed {
				continue // written here and in a list, or in two lists: no harm
			} else if dup && other == n.Name {
				l.errorf(p.at, "Duplicate prefix", "%s is already in this network. Remove one.", p.Prefix)
				continue
			} else if dup {
				l.errorf(p.at, "Prefix in two networks", "%s is already in network.%s. An address belongs to one network: remove the prefix from one of them.", p.Prefix, other)
				continue
			}
			owner[p.Prefix] = n.Name
			n.Prefixes = append(n.Prefixes, p.Prefix)
		}
		if own := b.boolean("local_addresses"); own != nil && *own {
			locals = append(locals, n)
		}
		if b.attr("prefixes") == nil && b.attr("files") == nil && b.attr("local_addresses") == nil && len(blk.Body.Blocks) == 0 {
			l.errorf(blk.DefRange(), "Network without prefixes", "network.%s has neither prefixes nor files. Write prefixes = [\"203.0.113.0/24\"] with your own addresses.", n.Name)
		}
		if items, n := b.items("prefixes"); n == 0 && len(items) == 0 && len(files) == 0 {
			b.notEmpty("prefixes", n)
		}
		internal, _ := b.choice("internal", "ignore", "count")
		n.CountInternal = internal == "count"
		if len(n.Prefixes) == 0 && b.attr("local_addresses") == nil {
			l.hint(n.Range, "Empty network", "The files of network.%s hold no prefix, so it covers nothing. Write your own addresses into them, one prefix a line.", n.Name)
		}
		l.conf.Networks = append(l.conf.Networks, n)
		l.set("network", n.Name, n)
	}
	for _, n := range locals {
		l.addLocal(n, owner)
	}
}

// addLocal adds the addresses of this machine that no network names itself.
func (l *loader) addLocal(n *Network, owner map[netip.Prefix]string) {
	list := l.machineList()
	for _, p := range list.Prefixes {
		if owner[p] == "" {
			owner[p] = n.Name
			n.Prefixes = append(n.Prefixes, p)
		}
	}
	if len(n.Prefixes) == 0 {
		l.hint(n.Range, "Empty network", "This machine has no address but loopback and link-local ones, so network.%s covers nothing.", n.Name)
	}
}
