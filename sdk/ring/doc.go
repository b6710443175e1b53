// Package ring carries deltas and records between processes through shared
// memory. A delta ring has one producer (a capture worker) and one consumer
// (the core); a record ring has one producer, the capture, and a cursor for
// every filter and tap behind it. Neither side trusts what the other wrote.
//
// The core creates the memory (CreateDelta, CreateRecord), which can neither
// shrink nor grow, and sends it over a pair of sockets (SendFiles,
// ReceiveFiles); plugins map it (OpenDelta, OpenRecord, OpenStage, OpenTap).
// Whatever stands in shared memory, no call crashes, blocks beyond its timeout
// or leaves the ring; an impossible word gives a CorruptError, after which the
// ring is to be replaced.
//
// Rings need Linux on 386, amd64, arm64, loong64, ppc64le or riscv64: elsewhere
// sealed memory, futexes or 64-bit atomic operations between processes are
// missing, or the byte order is another. There every constructor returns
// ErrUnsupported, and deltas travel as bytes: AppendDeltas and DecodeDeltas work
// everywhere.
package ring
