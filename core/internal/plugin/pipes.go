package plugin

import (
	"errors"
	"os"
	"sync"
	"time"
)

const (
	// How long output may still come once the process has ended: a grandchild
	// that left the group can hold the pipes open for ever.
	pipeGrace = 200 * time.Millisecond
	killLimit = 2 * time.Second
)

// pipes are our ends of a child's stdout and stderr.
type pipes struct {
	out, err *os.File
	wg       sync.WaitGroup
}

// startPiped starts a child whose output goes to the two functions, each
// called by one goroutine, until one returns false: then that stream is read
// and thrown away, so that the child never blocks on it.
func startPiped(spec childSpec, onOut, onErr func([]byte) bool) (*child, *pipes, error) {
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, outR.Close(), outW.Close())
	}
	spec.stdout, spec.stderr = outW, errW
	c, err := startChild(spec)
	outW.Close()
	errW.Close()
	if err != nil {
		outR.Close()
		errR.Close()
		return nil, nil, err
	}
	p := &pipes{out: outR, err: errR}
	p.wg.Go(func() { pump(outR, onOut) })
	p.wg.Go(func() { pump(errR, onErr) })
	return c, p, nil
}

// finish is called when the process has ended; it returns when what had been
// written has been read.
func (p *pipes) finish() {
	limit := time.Now().Add(pipeGrace)
	// A pipe that cannot have a deadline is closed at once instead.
	if p.out.SetReadDeadline(limit) != nil || p.err.SetReadDeadline(limit) != nil {
		p.out.Close()
		p.err.Close()
	}
	p.wg.Wait()
	p.out.Close()
	p.err.Close()
}

// pumpRate bounds what is read of one stream, in bytes a second and at once: who
// writes more than that waits for us, rather than take our time from detection.
const pumpRate = 32 << 20

func pump(from *os.File, to func([]byte) bool) {
	buffer := make([]byte, 16<<10)
	wanted := true
	last, tokens := time.Now(), float64(pumpRate)
	for {
		n, err := from.Read(buffer)
		now := time.Now()
		tokens = min(pumpRate, tokens+now.Sub(last).Seconds()*pumpRate) - float64(n)
		last = now
		if tokens < 0 {
			time.Sleep(time.Duration(-tokens / pumpRate * float64(time.Second)))
		}
		if n > 0 && wanted {
			wanted = to(buffer[:n])
		}
		if err != nil {
			return
		}
	}
}
