//go:build !linux

package main

import "syscall"

// attributes make the script lead a process group. There is no parent-death
// signal here: a script outlives a plugin that is killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
