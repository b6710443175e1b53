// Package ring carries deltas and records between processes through shared
// memory. A delta ring has one producer (a capture worker) and one consumer
// (the core); a record ring has one producer, the capture, and a cursor for
// every filter and tap behind it. Neither side trusts what the other wrote.
package ring
