// Package baseline keeps how rates usually are, for each hostgroup and its
// busiest hosts, and suggests limits from it.
//
// A Profile is distributions: of each host's rates taken together (All), of
// the hostgroup as a whole (Total), and of its busiest hosts one by one, for
// each direction, counter and unit. A sample is a host's exponential average,
// as limits are compared with it, once a second, or as often as there is time
// to look. Directions in which an attack is open are left out: what the
// configuration calls an attack is not usual.
//
// A Recorder fills profiles one after the other, forgets the oldest, and keeps
// them in a file over a restart. Suggest makes limits of a profile, each with
// the evidence for it; Suggestion writes them as HCL.
package baseline
