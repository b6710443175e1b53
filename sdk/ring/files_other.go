//go:build !linux

package ring

import (
	"os"
	"time"
)

// Pair fails with ErrUnsupported: without shared memory there is nothing to
// send.
func Pair() (coreEnd, pluginEnd *os.File, err error) { return nil, nil, ErrUnsupported }

// SendFiles fails with ErrUnsupported.
func SendFiles(*os.File, uint64, []*os.File) error { return ErrUnsupported }

// ReceiveFiles fails with ErrUnsupported.
func ReceiveFiles(*os.File, uint64, int, time.Time) ([]*os.File, error) { return nil, ErrUnsupported }
