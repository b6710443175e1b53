package plugin

import "golang.org/x/sys/unix"

func dupStdout() error { return unix.Dup3(10, 1, 0) }
