//go:build !linux || !(386 || amd64 || arm64 || loong64 || ppc64le || riscv64)

package ring

import (
	"os"
	"sync/atomic"
	"time"
)

// Rings need sealed memory files and futexes that work between processes, and
// 64-bit atomic operations that do not fall back on a lock of one process.

func createMemory(string, int) (*os.File, *mapping, error) { return nil, nil, ErrUnsupported }

func openMemory(*os.File) (*mapping, error) { return nil, ErrUnsupported }

func unmapMemory([]byte) {}

func futexWait(*atomic.Uint32, uint32, time.Duration) {}

func futexWake(*atomic.Uint32) {}
