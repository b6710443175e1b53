package engine

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// ScopeKind is whose traffic a limit is about.
type ScopeKind uint8

// The scopes, narrow before wide.
const (
	ScopeHost    ScopeKind = iota
	ScopePrefix            // hosts of one hostgroup that share a prefix of Limit.Length
	ScopeGroup             // all hosts of a hostgroup
	ScopeNetwork           // all hosts of each of Limit.Networks, whatever their hostgroup
)

func (k ScopeKind) String() string {
	if k > ScopeNetwork {
		return "unknown"
	}
	return [...]string{"host", "prefix", "hostgroup", "network"}[k]
}

// Rows of wider scopes have kinds of their own: those below are never a ring.Kind.
const (
	rowScope = 0x40 // + ScopeKind

	scopedEntry = 1 << 31 // of row.entry: an index of plan.scoped

	maxScopeIDs = 1 << 20
)

func isScoped(kind uint8) bool { return kind >= rowScope }

// scopeKey is what wider rows of one kind have in common.
type scopeKey struct {
	kind ScopeKind
	id   uint32   // of the hostgroup, or of the network
	len  [2]uint8 // prefix scope: [0] the length, [1] the family
}

// scopeRef leads from a host to one of the wider rows that its traffic counts
// for.
type scopeRef struct {
	mask [2]uint64 // of the address words; 0 for hostgroup and network
	id   uint32    // of plan.scoped
	plen uint8     // in the family's own bits; 0 for hostgroup and network
	kind uint8     // of the row
	user bool      // it or a wider one has limits on user counters
}

// scopeRefs are the wider rows that an entry's hosts count for, by family, narrow
// before wide: each lies within the next.
type scopeRefs [2]chain

// chain has a number of its own: two entries' sums are kept apart, since the rows
// after the next may be others.
type chain struct {
	no   uint32
	cell *cell
	refs []scopeRef
	// Of the narrowest row, for reach: mask, key.where, and how long an address's
	// prefix must be for it; all are too short where there is none.
	mask  [2]uint64
	where uint64
	plen  uint16
}

// scopeID numbers what wider rows have in common, for the engine's lifetime: a
// row keeps its number over changes of the plan.
func (e *Engine) scopeID(k scopeKey) (uint32, error) {
	id, ok := e.scopeIDs[k]
	if !ok {
		if id = uint32(len(e.scopeIDs)); id >= maxScopeIDs {
			return 0, fmt.Errorf("the engine has seen %d different scopes and tells no more apart; restart to use others", id)
		}
		e.scopeIDs[k] = id
	}
	return id, nil
}

// scopeOf is a limit's place among the wider rows: which kind, and for prefix
// scopes which length in which family.
type scopeOf struct {
	scopeKey
	group *Group
}

// compileScopes makes the plans of the wider rows and hangs them on the
// entries whose hosts count for them.
func (e *Engine) compileScopes(n *plan, p *Plan) error {
	seen := map[scopeKey]*Group{}
	var all []scopeOf
	for i := range p.Groups {
		g := &p.Groups[i]
		for _, l := range g.Limits {
			for _, k := range l.scopeKeys(g.ID) {
				switch first := seen[k]; {
				case first == nil:
					seen[k] = g
					all = append(all, scopeOf{k, g})
				case first != g:
					return fmt.Errorf("network %d has limits of hostgroups %d and %d; only one may give it any", k.id, first.ID, g.ID)
				}
			}
		}
	}
	refs := map[scopeKey]scopeRef{}
	for _, s := range all {
		ref, err := e.compileScope(n, s, p.Prefixes)
		if err != nil {
			return fmt.Errorf("hostgroup %d: %w", s.group.ID, err)
		}
		refs[s.scopeKey] = ref
	}
	for i := len(n.scoped); i < len(e.scopeIDs); i++ {
		n.scoped = append(n.scoped, entry{plan: e.none})
	}
	for i := range n.entries {
		n.entries[i].scopes = refsOf(i, &n.entries[i], all, refs)
		if s := n.entries[i].scopes; s != nil && max(len(s[0].refs), len(s[1].refs)) > maxChain {
			return fmt.Errorf("hostgroup %d has prefixes of %d lengths; at most %d fit", n.entries[i].group, max(len(s[0].refs), len(s[1].refs)), maxChain-2)
		}
	}
	n.wide = len(all) > 0
	if n.wide && e.wider.items == nil {
		e.wider = newWider(&e.mem, e.idx.seed)
	}
	return nil
}

// scopeKeys are the wider rows that a limit of a group is about.
func (l *Limit) scopeKeys(group uint32) []scopeKey {
	switch l.Scope {
	case ScopePrefix:
		var out []scopeKey
		for family, length := range l.Length {
			if length > 0 {
				out = append(out, scopeKey{ScopePrefix, group, [2]uint8{length, uint8(family)}})
			}
		}
		return out
	case ScopeGroup:
		return []scopeKey{{kind: ScopeGroup, id: group}}
	case ScopeNetwork:
		var out []scopeKey
		for _, id := range l.Networks {
			out = append(out, scopeKey{kind: ScopeNetwork, id: id})
		}
		return out
	}
	return nil
}

// compileScope makes the plan of one kind of wider row.
func (e *Engine) compileScope(n *plan, s scopeOf, prefixes []Prefix) (scopeRef, error) {
	id, err := e.scopeID(s.scopeKey)
	if err != nil {
		return scopeRef{}, err
	}
	plan, err := e.compileLimits(n, s.group, func(l *Limit) bool {
		for _, k := range l.scopeKeys(s.group.ID) {
			if k == s.scopeKey {
				return true
			}
		}
		return false
	})
	if err != nil {
		return scopeRef{}, err
	}
	for len(n.scoped) <= int(id) {
		n.scoped = append(n.scoped, entry{plan: e.none})
	}
	ent := entry{group: s.group.ID, plan: plan}
	ent.network, ent.target = spanOf(s.scopeKey, prefixes)
	n.scoped[id] = ent
	ref := scopeRef{id: id, kind: rowScope + uint8(s.kind), user: len(plan.dirs[0].user)+len(plan.dirs[1].user) > 0}
	if s.kind == ScopePrefix {
		ref.plen = s.len[0]
		ref.mask = maskWords(s.len[0], s.len[1] == 0)
	}
	return ref, nil
}

// spanOf returns the network that a hostgroup or network lies in, 0 where it
// is several, and the prefix that it is, invalid where it is several.
func spanOf(k scopeKey, prefixes []Prefix) (network uint32, target netip.Prefix) {
	networks, count := map[uint32]bool{}, 0
	for _, p := range prefixes {
		if k.kind == ScopeNetwork && p.Network != k.id || k.kind != ScopeNetwork && p.Group != k.id {
			continue
		}
		network = p.Network
		networks[network] = true
		// Longer prefixes inside one that was seen are part of it: the list may be
		// in any order, so a shorter one takes over.
		switch {
		case count > 0 && target.Bits() <= p.Prefix.Bits() && target.Contains(p.Prefix.Addr()):
		case count > 0 && p.Prefix.Bits() < target.Bits() && p.Prefix.Contains(target.Addr()):
			target = p.Prefix
		default:
			target = p.Prefix
			count++
		}
	}
	if len(networks) != 1 {
		network = 0
	}
	if count != 1 || k.kind == ScopePrefix {
		target = netip.Prefix{}
	}
	return network, target
}

// refsOf lists the wider rows that the hosts of entry no count for.
func refsOf(no int, ent *entry, all []scopeOf, refs map[scopeKey]scopeRef) *scopeRefs {
	var out scopeRefs
	for family := range out {
		c := &out[family]
		c.no, c.cell = uint32(2*no+family), ent.cell[family]
		for _, s := range all {
			id := ent.group
			if s.kind == ScopeNetwork {
				id = ent.network
			}
			if id == s.id && (s.kind != ScopePrefix || int(s.len[1]) == family) {
				c.refs = append(c.refs, refs[s.scopeKey])
			}
		}
		slices.SortFunc(c.refs, func(a, b scopeRef) int {
			return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(b.plen, a.plen))
		})
		for i := len(c.refs) - 2; i >= 0; i-- {
			c.refs[i].user = c.refs[i].user || c.refs[i+1].user
		}
		c.where, c.plen = placeOf(c.no, 0), 256
		if len(c.refs) > 0 {
			c.mask, c.plen = c.refs[0].mask, uint16(c.refs[0].plen)
		}
	}
	if out[0].refs == nil && out[1].refs == nil {
		return nil
	}
	return &out
}

func maskWords(length uint8, four bool) [2]uint64 {
	var m [16]byte
	n := int(length)
	if four {
		n += 96
	}
	for i := range m {
		m[i] = ^byte(0xff >> min(max(n-8*i, 0), 8))
	}
	k0, k1 := words(&m)
	return [2]uint64{k0, k1}
}

// checkScope tells whether a limit's scope can be.
func (l *Limit) checkScope() error {
	switch {
	case l.Scope > ScopeNetwork:
		return fmt.Errorf("its scope is %d, which is none", l.Scope)
	case l.Scope == ScopePrefix && (l.Length == [2]uint8{} || l.Length[0] > 32 || l.Length[1] > 128):
		return fmt.Errorf("its prefix lengths are %v; they must be up to 32 and 128, one of them above 0", l.Length)
	}
	return nil
}

// entryOf is what a row is compared by.
func (e *Engine) entryOf(r *row) *entry {
	if r.entry&scopedEntry != 0 {
		return &e.cur.scoped[r.entry&^scopedEntry]
	}
	return &e.cur.entries[r.entry]
}

// place returns what a crossing of a row is about.
func (e *Engine) place(r *row) (kind ScopeKind, target netip.Prefix, network, group uint32) {
	ent := e.entryOf(r)
	if !isScoped(r.kind) {
		return ScopeHost, r.prefix(), ent.network, ent.group
	}
	kind, target, network = ScopeKind(r.kind-rowScope), ent.target, ent.network
	if kind == ScopePrefix {
		target = r.prefix()
		if of := e.cur.entries[e.cur.lookup(target)].network; of != 0 {
			network = of
		}
	}
	return kind, target, network, ent.group
}

// tagOf is the tag under which the index has a row.
func (e *Engine) tagOf(r *row) uint32 {
	if isScoped(r.kind) {
		return e.scopeHash(r.k0, r.k1, r.kind, r.entry)
	}
	return e.idx.hash(r.k0, r.k1, r.kind, r.plen)
}

func (e *Engine) scopeHash(k0, k1 uint64, kind uint8, ent uint32) uint32 {
	return e.idx.hash(k0, k1^uint64(ent)*0x9e3779b97f4a7c15, kind, 0)
}
