// Package count turns records into deltas inside the capture process: it
// looks up whose addresses a record carries, adds it to a per-host table and
// flushes the changed rows on multiples of 50 ms. Flow records that tell of
// more than a second count forward, at an even rate.
package count
