package api

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// renewEvery is between two looks at whether the socket still has its name.
const renewEvery = time.Second

// renewTries may fail without a word: the directory is made again by others.
const renewTries = 3

// renewing is a listening Unix socket that is made again under its name when
// that is removed, as by somebody who tidies up a directory.
type renewing struct {
	mode os.FileMode
	log  hclog.Logger

	mu     sync.Mutex
	now    *socket
	closed bool
}

// Accept waits for a connection to the socket of the day.
func (r *renewing) Accept() (net.Conn, error) {
	for {
		r.mu.Lock()
		l := r.now
		r.mu.Unlock()
		conn, err := l.Accept()
		if err == nil {
			return conn, nil
		}
		r.mu.Lock()
		replaced := r.now != l && !r.closed
		r.mu.Unlock()
		if !replaced {
			return nil, err
		}
	}
}

// Close stops listening.
func (r *renewing) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.now.Close()
}

// Addr is the socket's.
func (r *renewing) Addr() net.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now.Addr()
}

// watch makes the socket again whenever its name is gone, until ctx is done.
func (r *renewing) watch(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	told, failed := time.Time{}, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := r.renew()
		if failed++; err == nil {
			failed = 0
		}
		if failed >= renewTries && time.Since(told) >= noticeTime {
			told = time.Now()
			r.log.Error("the control socket was removed and cannot be made again yet: status, hosts and the like do not work", "error", err)
		}
	}
}

// renew opens the socket anew if its name is gone. Another's socket, or
// anything else, under that name is left alone.
func (r *renewing) renew() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	path := r.now.path
	switch _, err := os.Lstat(path); {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	l, err := listen(path, r.mode)
	if err != nil {
		return err
	}
	r.now.Close()
	r.now = l
	r.log.Warn("the control socket was removed; it is made again", "path", path)
	return nil
}
