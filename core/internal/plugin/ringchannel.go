package plugin

import (
	"errors"
	"fmt"
	"os"

	"github.com/fastnetmon-go/fastnetmon/sdk/ring"
)

// ringChannel returns the two ends of the connection for ring descriptors. On
// systems without shared rings ours is nil and the plugin's descriptor leads
// nowhere, so that the ones behind it keep their numbers.
func ringChannel() (ours, theirs *os.File, err error) {
	ours, theirs, err = ring.Pair()
	if errors.Is(err, ring.ErrUnsupported) {
		theirs, err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
		ours = nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the channel for rings: %w", err)
	}
	return ours, theirs, nil
}
