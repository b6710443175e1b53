package store

import (
	"fmt"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// failed notes why nothing is written.
func (h *History) failed(err error) {
	h.mu.Lock()
	first := h.fault == nil
	if first {
		h.since = time.Now()
	}
	h.fault = err
	h.mu.Unlock()
	if first {
		h.opt.Log.Error("the attack history is not written: the rest goes on, and it is tried again", "error", err)
	}
}

func (h *History) healed(db *DB) {
	size, free, err := db.Size()
	h.mu.Lock()
	was := h.fault
	h.fault = nil
	if err == nil {
		h.size = size - free
	}
	h.mu.Unlock()
	if was != nil {
		h.opt.Log.Info("the attack history is written again")
	}
}

// Troubles says what is wrong with the history, a sentence each.
func (h *History) Troubles() (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fault != nil {
		out = append(out, fmt.Sprintf("the attack history has not been written since %s, %d attacks wait and %d events are lost so far: %v",
			h.since.UTC().Format(time.RFC3339), len(h.pending), h.lost, h.fault))
	}
	for _, aside := range h.asides {
		out = append(out, fmt.Sprintf("the attack history was damaged, and a new one was begun: the old one is %s; once it is moved away this ends within a minute", aside))
	}
	return out
}

// Metrics are figures about the history.
func (h *History) Metrics() []sdk.Metric {
	h.mu.Lock()
	defer h.mu.Unlock()
	up := 0.0
	if h.fault == nil && h.size > 0 {
		up = 1
	}
	return []sdk.Metric{
		{Name: "history_up", Value: up},
		{Name: "history_bytes", Value: float64(h.size)},
		{Name: "history_pending", Value: float64(len(h.pending))},
		{Name: "history_writes_total", Value: float64(h.written)},
		{Name: "history_lost_total", Value: float64(h.lost)},
	}
}
