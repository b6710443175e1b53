package plugin

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/mark"
)

// envMark is the variable by which a plugin's process is known, with all that it
// starts: "RUN.N;" is the N-th process of this run of the program. What a plugin
// starts with an environment without it is the plugin's to end.
const envMark = "FASTNETMON_PROCESS"

// sweepLimit is how long what a plugin has left behind may take to end.
const sweepLimit = 2 * time.Second

// RunID is this run of the program, in every mark.
var RunID = sync.OnceValue(mark.New)

var launches atomic.Uint64

// newMark is the mark of the next process.
func newMark() string { return fmt.Sprintf("%s.%d;", RunID(), launches.Add(1)) }

// EndRun ends what the plugins of another run have left, however they have been
// left. It tells whether nothing is left. Whatever is no run's id is nobody's.
func EndRun(id string) bool {
	if len(id) != len(RunID()) || strings.Trim(id, "0123456789abcdef") != "" {
		return true
	}
	return mark.End(envMark+"="+id+".", sweepLimit)
}
