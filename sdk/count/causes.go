package count

// Causes of loss that the SDK itself counts. A capture's own causes are
// indexes into what it declares; these come from the other end.
const (
	CauseFiltered     uint8 = 255 - iota // a filter dropped the record
	CauseFilterFailed                    // a filter with on_failure = "drop" did not judge it
	CauseRingFull                        // live: the record ring had no room
	CauseRingReplaced                    // in a record ring when that was replaced
	CauseUndeclared                      // the capture named a cause that it has not declared
	CauseSmearFull                       // a long flow record for which there was no room: its first second was counted, the rest was not
	MaxCauses         int   = int(CauseSmearFull)
)

// CauseName gives the name of a cause of a KindLoss delta. declared is what
// the capture declares.
func CauseName(declared []string, id uint8) string {
	switch id {
	case CauseFiltered:
		return "filtered"
	case CauseFilterFailed:
		return "filter_failed"
	case CauseRingFull:
		return "record_ring_full"
	case CauseRingReplaced:
		return "record_ring_replaced"
	case CauseSmearFull:
		return "smear_full"
	}
	if int(id) < len(declared) {
		return declared[id]
	}
	return "undeclared"
}
