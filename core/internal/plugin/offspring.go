package plugin

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/fastnetmon-go/fastnetmon/core/internal/plugin/guard"
	"github.com/fastnetmon-go/fastnetmon/sdk/mark"
)

// RunID is this run of the program, in the mark of every process.
var RunID = sync.OnceValue(mark.New)

var launches atomic.Uint64

// newMark is the mark of the next process, see guard.EnvMark: all that has it is
// to end with the process.
func newMark() string { return fmt.Sprintf("%s=%s.%d;", guard.EnvMark, RunID(), launches.Add(1)) }
