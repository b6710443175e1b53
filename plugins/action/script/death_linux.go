package main

import "syscall"

// attributes make the script lead a process group, and have the kernel kill it
// when the plugin dies, however that happens: the core then tells the event
// again, and two bans must not run side by side.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
