package store

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"
)

// What keeps a file from being used. Errors of this package wrap one of these,
// or what the system said.
var (
	ErrLocked  = errors.New("another process has it open: is a second daemon running with this state_dir?")
	ErrCorrupt = errors.New("it is damaged")
	ErrDenied  = errors.New("it may not be written")
	ErrFull    = errors.New("there is no room for it")
	ErrNewer   = errors.New("a newer version has written it: use that one, or move the file away")
	ErrOlder   = errors.New("an older version has written it: once the daemon has started it is up to date")
	ErrOther   = errors.New("it is a file of another kind: move it away")
)

// wrap names the file and what is wrong with it.
func wrap(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", path, classify(err))
}

// classify says what an error of bbolt or of the system comes to.
func classify(err error) error {
	switch {
	case errors.Is(err, ErrCorrupt), errors.Is(err, fs.ErrNotExist):
		return err
	case errors.Is(err, berrors.ErrTimeout):
		return ErrLocked
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w, free some: %w", ErrFull, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w, let the daemon's user write its directory: %w", ErrDenied, err)
	case errors.Is(err, berrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %w", ErrNewer, err)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrInvalidMapping):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}
