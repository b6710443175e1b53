//go:build !linux

package plugin

import (
	"errors"
	"syscall"
)

type (
	tree  struct{}
	group struct{}
)

func delegation() (*tree, string) { return nil, "this system has no cgroups" }

func (*tree) add(string, uint64) (*group, error) { return nil, errors.ErrUnsupported }
func (*group) killed() bool                      { return false }
func (*group) take(int) error                    { return errors.ErrUnsupported }
func (*group) remove() error                     { return nil }
func (*group) into(*syscall.SysProcAttr)         {}

// limitData: there is no portable way to limit another process.
func limitData(int, uint64) error { return errors.ErrUnsupported }
