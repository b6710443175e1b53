package main

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk/hold"
)

// MarshalText writes a key for files: its family and its NLRI in hexadecimal.
func (k routeKey) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%s %x", familyName(k.family), k.nlri), nil
}

// UnmarshalText reads what MarshalText has written.
func (k *routeKey) UnmarshalText(text []byte) error {
	name, octets, _ := strings.Cut(string(text), " ")
	nlri, err := hex.DecodeString(octets)
	*k = routeKey{families[name], string(nlri)}
	if err == nil && k.family != 0 && len(nlri) > 0 {
		_, err = k.decode()
	}
	if err != nil || k.family == 0 || len(nlri) == 0 {
		return fmt.Errorf("%q, which was announced, is no route", text)
	}
	return nil
}

// journal is the file that remembers which of gobgpd's routes are ours.
type journal struct {
	file *hold.File
	last []routeKey
}

func newJournal(dir string) *journal { return &journal{file: hold.NewFile(dir, "announced.json")} }

func (j *journal) load() ([]routeKey, error) {
	var keys []routeKey
	return keys, j.file.Load(&keys)
}

// save writes which routes are ours.
func (j *journal) save(ours map[routeKey]*route) error {
	keys := slices.AppendSeq(make([]routeKey, 0, len(ours)), maps.Keys(ours))
	slices.SortFunc(keys, compareKeys)
	if j.last != nil && slices.Equal(j.last, keys) {
		return nil
	}
	if err := j.file.Save(keys); err != nil {
		return err
	}
	j.last = keys
	return nil
}

// notes are the file that remembers which mitigations somebody may have
// something of, with the keys of their routes.
type notes struct {
	file *hold.File
	last map[string][]routeKey
	err  error // why it could not be written
}

// recall gives what was remembered.
func (n *notes) recall() (map[string][]routeKey, error) {
	err := n.file.Load(&n.last)
	return n.last, err
}

// keep remembers these, where that is anything new.
func (n *notes) keep(next map[string][]routeKey) {
	if n.err == nil && maps.EqualFunc(next, n.last, slices.Equal) {
		return
	}
	if n.err = n.file.Save(next); n.err != nil {
		n.err = fmt.Errorf("what is announced cannot be written down, and what ends while the plugin does not run counts as released too early: %w", n.err)
	}
	n.last = next
}
