package main

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk/hold"
)

// journal is the file that remembers which of gobgpd's routes are ours: a text
// each, with family and NLRI.
type journal struct {
	file *hold.File
	last []string
}

func newJournal(dir string) *journal { return &journal{file: hold.NewFile(dir, "announced.json")} }

func (j *journal) load() ([]routeKey, error) {
	var texts []string
	if err := j.file.Load(&texts); err != nil {
		return nil, err
	}
	var keys []routeKey
	for _, text := range texts {
		name, octets, _ := strings.Cut(text, " ")
		nlri, err := hex.DecodeString(octets)
		k := routeKey{families[name], string(nlri)}
		if err == nil && k.family != 0 && len(nlri) > 0 {
			_, err = k.decode()
		}
		if err != nil || k.family == 0 || len(nlri) == 0 {
			return keys, fmt.Errorf("%q, which was announced, is no route", text)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// save writes which routes are ours.
func (j *journal) save(ours map[routeKey]*route) error {
	texts := make([]string, 0, len(ours))
	for _, k := range slices.SortedFunc(maps.Keys(ours), compareKeys) {
		texts = append(texts, fmt.Sprintf("%s %x", familyName(k.family), k.nlri))
	}
	if j.last != nil && slices.Equal(j.last, texts) {
		return nil
	}
	if err := j.file.Save(texts); err != nil {
		return err
	}
	j.last = texts
	return nil
}
