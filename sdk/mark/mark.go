// Package mark finds processes by an entry of their environment and ends them.
// What a process starts inherits its environment, so a mark there reaches what
// has left its process group and its session too, as a daemon does; only what is
// started with another environment escapes. Linux; elsewhere nothing is found.
package mark

import (
	"crypto/rand"
	"encoding/hex"
	"syscall"
	"time"
)

// New returns a mark that nobody else has: 32 hexadecimal digits.
func New() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// pause is between two looks for what was started during the one before.
const pause = 5 * time.Millisecond

// End kills every process whose environment has an entry that begins with
// prefix, as "NAME=value", and looks again until there is none, for limit at
// most. It tells whether none is left. This process is never among them.
func End(prefix string, limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(pause) {
		switch {
		case Signal(prefix, syscall.SIGKILL) == 0:
			return true
		case time.Now().After(end):
			return false
		}
	}
}
