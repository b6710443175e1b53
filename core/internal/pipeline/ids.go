package pipeline

// ids gives every named thing a number for as long as the daemon lives. A
// number is never used again for another name, so a delta counted under an
// older plan is never read as something else.
type ids struct {
	byName map[string]uint32
	names  []string // by id; names[0] is "", since 0 means none
}

func newIDs() *ids { return &ids{byName: map[string]uint32{}, names: []string{""}} }

// of returns the id of a name, a new one for a new name.
func (i *ids) of(name string) uint32 {
	if id, ok := i.byName[name]; ok {
		return id
	}
	id := uint32(len(i.names))
	i.byName[name] = id
	i.names = append(i.names, name)
	return id
}

// name returns the name behind an id, "" for one never given.
func (i *ids) name(id uint32) string {
	if int(id) >= len(i.names) {
		return ""
	}
	return i.names[id]
}
