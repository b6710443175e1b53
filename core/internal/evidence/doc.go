// Package evidence makes something people can read of a sample of an attack's
// packets: who sends what, a label with its reasons, a capture file and a
// report. Nothing in it decides about an attack, and nothing waits for it.
package evidence
