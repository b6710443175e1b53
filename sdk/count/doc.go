// Package count turns records into deltas inside the capture process: it
// looks up whose addresses a record carries, adds it to a per-host table and
// flushes the changed rows on multiples of 50 ms.
package count
