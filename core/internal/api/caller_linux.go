package api

import (
	"net"

	"golang.org/x/sys/unix"
)

// userOf asks the kernel whose process connected (unix(7), SO_PEERCRED).
func userOf(c *net.UnixConn) (uid uint32, known bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid, known = cred.Uid, true
		}
	})
	return uid, known && err == nil
}
