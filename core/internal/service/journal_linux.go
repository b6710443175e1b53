package service

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// toJournal tells whether w is the stream that systemd made for the journal:
// JOURNAL_STREAM names its device and inode, systemd.exec(5). The variable
// alone says nothing, since standard error may have been redirected.
func toJournal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}
