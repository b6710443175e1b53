package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
)

// point is a value of a path at a time.
type point struct {
	path  string
	at    int64 // Unix seconds: Graphite has no finer times
	value float64
}

// carbon is a carbon daemon. Its protocols have no answers: each write has a
// connection of its own, whose end by the other side says that it has read all.
type carbon struct{ cfg config }

// Connect has nothing to open.
func (*carbon) Connect(context.Context) error { return nil }

// Close has nothing to give up.
func (*carbon) Close() error { return nil }

// Snapshot writes a snapshot. Written again, points replace themselves.
func (c *carbon) Snapshot(ctx context.Context, s *sdk.Snapshot) error {
	if c.cfg.Layout == delivery.LayoutFastNetMon {
		return c.write(ctx, communityPoints(c.cfg.Prefix, s))
	}
	return c.write(ctx, nativePoints(c.cfg.Prefix, s))
}

// Events writes events. The original has none.
func (c *carbon) Events(ctx context.Context, b delivery.Batch) error {
	if c.cfg.Layout == delivery.LayoutFastNetMon {
		return nil
	}
	var out []point
	for i := range b.Events {
		out = append(out, eventPoints(c.cfg.Prefix, &b.Events[i])...)
	}
	return c.write(ctx, out)
}

func (c *carbon) write(ctx context.Context, points []point) error {
	if len(points) == 0 {
		return nil
	}
	var data []byte
	if c.cfg.Protocol == pickled {
		data = appendPickles(nil, points)
	} else {
		data = appendLines(nil, points)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", c.cfg.Address)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	err = send(conn, data)
	return errors.Join(err, conn.Close())
}

// send writes everything and waits until the other side has ended the connection
// too.
func send(conn net.Conn, data []byte) error {
	if _, err := conn.Write(data); err != nil {
		return err
	}
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.New("the connection cannot be ended on one side")
	}
	if err := half.CloseWrite(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(conn, 1<<20)); err != nil {
		return fmt.Errorf("carbon has not said that it has read everything: %w", err)
	}
	return nil
}

// appendLines appends points in the plaintext protocol: "path value time\n".
func appendLines(b []byte, points []point) []byte {
	for i := range points {
		p := &points[i]
		b = append(append(b, p.path...), ' ')
		b = append(strconv.AppendFloat(b, p.value, 'f', -1, 64), ' ')
		b = append(strconv.AppendInt(b, p.at, 10), '\n')
	}
	return b
}

// pickleBatch is how many points go into one message: carbon takes up to 1 MiB.
const pickleBatch = 1000

// appendPickles appends points in the pickle protocol: messages of a length in
// four octets, big endian, and a pickled list of (path, (time, value)), of
// protocol 2 (PEP 307).
func appendPickles(b []byte, points []point) []byte {
	for len(points) > 0 {
		batch := points[:min(len(points), pickleBatch)]
		points = points[len(batch):]
		start := len(b)
		b = append(b, 0, 0, 0, 0)
		b = append(b, "\x80\x02](" /* protocol 2, a list, a mark */ ...)
		for i := range batch {
			p := &batch[i]
			b = append(b, 'X') // text
			b = binary.LittleEndian.AppendUint32(b, uint32(len(p.path)))
			b = append(b, p.path...)
			b = append(b, 'G') // float
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(float64(p.at)))
			b = append(b, 'G')
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(p.value))
			b = append(b, 0x86, 0x86) // two pairs
		}
		b = append(b, 'e', '.') // into the list; the end
		binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	}
	return b
}
