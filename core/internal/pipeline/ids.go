package pipeline

import "sync"

// ids gives every named thing a number for as long as the daemon lives. A
// number is never used again for another name, so a delta counted under an
// older plan is never read as something else. A reload gives new ones while the
// loop reads old ones.
type ids struct {
	mu     sync.RWMutex
	byName map[string]uint32
	names  []string // by id; names[0] is "", since 0 means none
}

func newIDs() *ids { return &ids{byName: map[string]uint32{}, names: []string{""}} }

// of returns the id of a name, a new one for a new name.
func (i *ids) of(name string) uint32 {
	i.mu.Lock()
	defer i.mu.Unlock()
	if id, ok := i.byName[name]; ok {
		return id
	}
	id := uint32(len(i.names))
	i.byName[name] = id
	i.names = append(i.names, name)
	return id
}

// find returns the id of a name that has one.
func (i *ids) find(name string) (uint32, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	id, ok := i.byName[name]
	return id, ok
}

// name returns the name behind an id, "" for one never given.
func (i *ids) name(id uint32) string {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if int(id) >= len(i.names) {
		return ""
	}
	return i.names[id]
}
