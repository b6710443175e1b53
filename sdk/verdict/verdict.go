// Package verdict is what filters have in common that look whether a record
// matches: the attributes then and class.
package verdict

import (
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// Values of then.
const (
	Keep = "keep" // records that do not match are dropped
	Drop = "drop" // records that match are dropped
	Mark = "mark" // records that match get the class
)

// maxClasses is how many bits a record's class has.
const maxClasses = 64

// Then is what becomes of a record.
type Then struct {
	Match, Others traffic.Verdict // of records that match, and that do not
	Class         uint64          // added to that of records that match
}

// Read reads the attributes then and class (0 to 63, nil where it is not set).
func Read(then string, class *int) (Then, diag.Diagnostics) {
	attr := diag.Path{}.Attr
	var ds diag.Diagnostics
	switch then {
	case Keep, Drop, Mark:
	default:
		ds = append(ds, diag.Errorf(attr("then"), "Unknown value", "then is %q; write %q, %q or %q.", then, Drop, Keep, Mark))
	}
	switch {
	case then == Mark && class == nil:
		ds = append(ds, diag.Errorf(attr("then"), "No class", "With then = %q the filter needs a class. Write class = 0 or another number up to %d.", Mark, maxClasses-1))
	case then != Mark && class != nil:
		ds = append(ds, diag.Errorf(attr("class"), "Class without effect", "Records get a class only with then = %q. Write that, or remove class.", Mark))
	case class != nil && (*class < 0 || *class >= maxClasses):
		ds = append(ds, diag.Errorf(attr("class"), "Invalid class", "%d is no class; there are 0 to %d.", *class, maxClasses-1))
	}
	if ds.HasErrors() {
		return Then{}, ds
	}
	switch then {
	case Keep:
		return Then{Others: traffic.VerdictDrop}, nil
	case Drop:
		return Then{Match: traffic.VerdictDrop}, nil
	}
	return Then{Class: 1 << *class}, nil
}
