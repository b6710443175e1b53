package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxDead bounds the file of dead letters, in octets; one older file is kept.
const maxDead = 4 << 20

// deadLetters keeps what was not told, a line of JSON each, for a person to
// look at.
type deadLetters struct {
	path string // "" keeps nothing

	mu sync.Mutex
}

// deadLetter is one line.
type deadLetter struct {
	Time  time.Time `json:"time"` // when it was given up
	Why   string    `json:"why"`
	Key   string    `json:"key"`
	Event string    `json:"event"`
	Taken time.Time `json:"taken"`
	Body  string    `json:"body"`
}

func newDeadLetters(dir string) *deadLetters {
	if dir == "" {
		return &deadLetters{}
	}
	return &deadLetters{path: filepath.Join(dir, "dead.jsonl")}
}

func (d *deadLetters) add(l *letter, why string) error {
	if d.path == "" {
		return nil
	}
	line, err := json.Marshal(deadLetter{time.Now().UTC(), why, l.Key, l.Event, l.Time.UTC(), string(l.Body)})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if info, err := os.Stat(d.path); err == nil && info.Size()+int64(len(line)) > maxDead {
		if err := os.Rename(d.path, d.path+".1"); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(d.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
