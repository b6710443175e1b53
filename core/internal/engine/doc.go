// Package engine keeps the rates of hosts. It adds deltas to exponential
// averages and 100-ms ticks, compares them with limits as they are applied
// and reports what crossed.
//
// It is pure: no I/O, no goroutines and no clock of its own. One goroutine
// drives it; time is the stream's clock, in nanoseconds, which the window
// ends of flushes and Advance move forward and nothing moves back.
// Live, no window end may lie further ahead of the real time, which SetNow
// tells, than MaxAhead: one ring must not make those of others late.
//
// # Rates
//
// A volume v over a span s that ends at t adds (v/s)(1−e^(−s/τ)) to an
// average, and the state decays by e^(−Δt/τ). That is additive: any number of
// rings and any order of arrival give the same value, a late delta's term
// having decayed by its lateness.
//
// Beside the averages run ticks of 100 ms. A delta whose span lies within one
// tick is added to that tick's sum; a longer or smeared one feeds the average
// only. A tick stays open until the clock has passed its end by more than
// 150 ms, which needs three sums. A tick counts as above the moment its sum
// is; its closing only decides that it was not. (Closing it earlier, once
// every ring has flushed past it, would decide nothing: no ring may go back.)
//
// # Sampled sources
//
// Where a host's largest sampling rate S of the last 30 to 60 s (rates above
// 2²⁰ count as that) is above 1, a decision needs 30 raw
// samples of the limit's counter (packets ÷ S). For the average they are
// counted with its own weights: pps × τ ÷ S. Where they are fewer, a second
// average over 30 s decides, with the same demand. Burst rules count samples
// over the run of ticks. The second average and the samples of runs cost an
// extra record each, kept only where the limit itself does not already
// guarantee 30 samples. A limit in bytes is taken to guarantee one packet per
// 9000 bytes. Flow limits have the one average only.
//
// # FastNetMon Community's rule
//
// The hosts of a group that says so have averages of whole numbers that change
// once a second, see community.go: between, they are held. Their rows have
// tallies where others have ticks.
//
// # Scopes
//
// Networks, hostgroups and totals are derived: each delta is added to one cell
// (network, group, family, direction). Their averages take a volume as gained
// in the 50 ms in which it arrived.
//
// # Memory
//
// Rows live outside the Go heap: 320 bytes a host and 16 to 24 of index. At the memory
// limit a new host of weight (above 1 % of its smallest limit) takes the place
// of the coldest of the rows the clock hand meets; any other is counted in its
// network and group only, and the loss of its row is counted.
package engine
