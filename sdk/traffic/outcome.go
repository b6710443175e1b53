package traffic

// Outcome is what became of a frame: OK, or the cause for which it counts
// nothing. Captures declare the strings as their causes of loss.
type Outcome uint8

// The outcomes of a parse.
const (
	OK          Outcome = iota
	NotIP               // ARP, LLC, an unknown EtherType …: nothing to count
	Truncated           // cut before the end of the fixed IP header
	BadHeader           // an IP header that contradicts itself
	TooManyTags         // more than MaxTags VLAN tags or MaxLabels MPLS labels
	UnknownLink         // a link type that the parser does not read

	// Outcomes is the number of outcomes, for arrays of counters.
	Outcomes = int(UnknownLink) + 1
)

// Limits that keep a hostile frame from costing more than its size suggests.
const (
	MaxTags       = 4  // VLAN tags
	MaxLabels     = 16 // MPLS labels
	MaxExtensions = 8  // IPv6 extension headers; behind them the packet counts, its ports do not
)

var outcomeNames = [Outcomes]string{"ok", "not_ip", "truncated", "bad_header", "too_many_tags", "unknown_link"}

// String returns the outcome as a ledger's cause: not_ip, truncated ….
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}
