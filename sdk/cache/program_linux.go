package cache

import (
	"bufio"
	"os"
	"reflect"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ReleaseProgram takes the program's own file out of the process's memory, once
// it has started: a program that came in whole keeps in memory only what it goes
// on using, which comes back page by page from where the system caches files.
// It is advice; that it failed changes nothing.
func ReleaseProgram() {
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer maps.Close()
	var mine []mapping
	here := uint64(reflect.ValueOf(ReleaseProgram).Pointer())
	file := ""
	for scan := bufio.NewScanner(maps); scan.Scan(); {
		if f := strings.Fields(scan.Text()); len(f) > 1 && strings.HasSuffix(f[0], ":") { // of the mapping before
			if f[0] == "Anonymous:" && len(mine) > 0 {
				mine[len(mine)-1].clean = f[1] == "0"
			}
			continue
		}
		m, _ := parseMapping(scan.Text()) // of no file, it is none of ours
		mine = append(mine, m)
		if m.from <= here && here < m.to {
			file = m.file
		}
	}
	for _, m := range mine {
		// Nothing that can be written, or was: that would be lost. Of a program
		// with C's libraries the dynamic linker has written addresses into pages
		// that may only be read afterwards.
		if m.file == file && m.clean && (m.access == "r-xp" || m.access == "r--p") {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(m.from), uintptr(m.to-m.from), unix.MADV_DONTNEED)
		}
	}
}

// mapping is an entry of /proc/self/smaps (proc(5)) about a file.
type mapping struct {
	from, to     uint64
	access, file string // file: device and inode
	clean        bool   // it is as in the file
}

func parseMapping(line string) (m mapping, ok bool) {
	f := strings.Fields(line)
	if len(f) < 6 || f[4] == "0" {
		return m, false
	}
	from, to, found := strings.Cut(f[0], "-")
	var err1, err2 error
	m.from, err1 = strconv.ParseUint(from, 16, 64)
	m.to, err2 = strconv.ParseUint(to, 16, 64)
	m.access, m.file = f[1], f[3]+" "+f[4]
	return m, found && err1 == nil && err2 == nil && m.from < m.to
}
