package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors travel in messages of a SOCK_SEQPACKET pair, so that a message
// and its descriptors arrive whole or not at all. A message is, little-endian:
//
//	off size field
//	  0    4 magic "FNMF"
//	  4    4 index of its first descriptor in the batch
//	  8    8 token of the batch
//	 16    4 descriptors in the batch
//	 20    4 descriptors in this message, 1 to 64
const (
	filesMagic   = 0x464d4e46
	filesMessage = 24
	filesChunk   = 64
	maxFiles     = 4096
	sendTimeout  = 5 * time.Second
	// pollSlice bounds one wait, so that closing the connection ends it.
	pollSlice = 100 * time.Millisecond
)

// Pair makes the two ends of the connection over which descriptors travel.
// The plugin's end goes to the child as descriptor 3.
func Pair() (coreEnd, pluginEnd *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the pair of sockets for ring descriptors: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "rings-core"), os.NewFile(uintptr(fds[1]), "rings-plugin"), nil
}

// SendFiles sends the descriptors of files under a token, which the receiver
// must name; tokens of one connection grow. The files stay the caller's. It
// fails after five seconds when the other end does not read.
func SendFiles(conn *os.File, token uint64, files []*os.File) error {
	if len(files) > maxFiles {
		return fmt.Errorf("send ring descriptors: %d files, at most %d go in one batch", len(files), maxFiles)
	}
	deadline := time.Now().Add(sendTimeout)
	for at := 0; at < len(files); at += filesChunk {
		chunk := files[at:min(at+filesChunk, len(files))]
		var msg [filesMessage]byte
		binary.LittleEndian.PutUint32(msg[0:], filesMagic)
		binary.LittleEndian.PutUint32(msg[4:], uint32(at))
		binary.LittleEndian.PutUint64(msg[8:], token)
		binary.LittleEndian.PutUint32(msg[16:], uint32(len(files)))
		binary.LittleEndian.PutUint32(msg[20:], uint32(len(chunk)))
		err := withFds(chunk, nil, func(fds []int) error {
			return retryUntil(conn, unix.POLLOUT, deadline, func(fd int) error {
				return unix.Sendmsg(fd, msg[:], unix.UnixRights(fds...), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			})
		})
		if err != nil {
			return fmt.Errorf("send ring descriptors: %w", err)
		}
	}
	return nil
}

// withFds calls f with the descriptors of files, none of which can be closed
// meanwhile.
func withFds(files []*os.File, fds []int, f func([]int) error) error {
	if len(files) == 0 {
		return f(fds)
	}
	rc, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = rc.Control(func(fd uintptr) { inner = withFds(files[1:], append(fds, int(fd)), f) })
	return errors.Join(err, inner)
}

// ReceiveFiles receives the n descriptors that were sent under token, in
// order, each close-on-exec. Batches with smaller tokens are left over from
// calls that failed: they are closed and passed over. On an error nothing stays
// open. The zero deadline waits for ever.
func ReceiveFiles(conn *os.File, token uint64, n int, deadline time.Time) ([]*os.File, error) {
	if n < 0 || n > maxFiles {
		return nil, fmt.Errorf("receive ring descriptors: %d files wanted, at most %d go in one batch", n, maxFiles)
	}
	var files []*os.File
	for len(files) < n {
		got, err := receiveChunk(conn, token, len(files), n, deadline)
		files = append(files, got...)
		if err != nil {
			for _, f := range files {
				err = errors.Join(err, f.Close())
			}
			return nil, fmt.Errorf("receive ring descriptors: %w", err)
		}
	}
	return files, nil
}

// receiveChunk receives one message. Whatever it returns is open.
func receiveChunk(conn *os.File, token uint64, at, total int, deadline time.Time) ([]*os.File, error) {
	msg := make([]byte, filesMessage+1)
	oob := make([]byte, unix.CmsgSpace(filesChunk*4)+unix.CmsgSpace(64))
	var size, oobSize, flags int
	err := retryUntil(conn, unix.POLLIN, deadline, func(fd int) (err error) {
		size, oobSize, flags, _, err = unix.Recvmsg(fd, msg, oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return nil, err
	}
	files, err := parseRights(oob[:oobSize])
	le := binary.LittleEndian
	switch {
	case err != nil:
	case size == 0 && len(files) == 0:
		err = errors.New("the core closed the connection")
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("a message did not arrive whole: the process may have too many open files")
	case size != filesMessage || le.Uint32(msg) != filesMagic:
		err = fmt.Errorf("a message of %d bytes is not one of descriptors", size)
	case le.Uint64(msg[8:]) < token:
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
		return nil, err
	case le.Uint64(msg[8:]) > token:
		err = fmt.Errorf("they came under token %d, want %d", le.Uint64(msg[8:]), token)
	case le.Uint32(msg[16:]) != uint32(total) || le.Uint32(msg[4:]) != uint32(at):
		err = fmt.Errorf("descriptor %d of %d came where %d of %d was wanted", le.Uint32(msg[4:]), le.Uint32(msg[16:]), at, total)
	case len(files) == 0 || len(files) > total-at || le.Uint32(msg[20:]) != uint32(len(files)):
		err = fmt.Errorf("a message promised %d descriptors and brought %d, %d were wanted", le.Uint32(msg[20:]), len(files), total-at)
	}
	return files, err
}

// parseRights turns control messages into open files, also when it fails.
func parseRights(oob []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("control message: %w", err)
	}
	var files []*os.File
	for i := range messages {
		if messages[i].Header.Level != unix.SOL_SOCKET || messages[i].Header.Type != unix.SCM_RIGHTS {
			continue
		}
		fds, perr := unix.ParseUnixRights(&messages[i])
		if perr != nil {
			err = errors.Join(err, fmt.Errorf("control message: %w", perr))
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "ring"))
		}
	}
	return files, err
}

// retryUntil calls f until it does not say EAGAIN, polling in between. It
// works on blocking and non-blocking descriptors alike, inherited ones too.
func retryUntil(conn *os.File, events int16, deadline time.Time, f func(fd int) error) error {
	rc, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	for {
		wait := pollSlice
		if !deadline.IsZero() {
			wait = min(wait, time.Until(deadline))
		}
		var inner error
		err := rc.Control(func(fd uintptr) {
			if inner = f(int(fd)); !errors.Is(inner, unix.EAGAIN) || wait <= 0 {
				return
			}
			p := []unix.PollFd{{Fd: int32(fd), Events: events}}
			_, _ = unix.Poll(p, int(wait/time.Millisecond)+1) // whatever it says, f tells
		})
		switch {
		case err != nil:
			return err
		case inner == nil:
			return nil
		case errors.Is(inner, unix.EAGAIN) && wait <= 0:
			return os.ErrDeadlineExceeded
		case !errors.Is(inner, unix.EAGAIN) && !errors.Is(inner, unix.EINTR):
			return inner
		}
	}
}
