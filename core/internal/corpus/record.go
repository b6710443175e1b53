package corpus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/gopacket/pcapgo"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest/gen"
)

// Recorded is what one tool gave for one class.
type Recorded struct {
	Origin string
	In     *gen.Recording // towards our host
	Out    *gen.Recording // from it; nil if there was nothing
}

// Recordings are what was recorded, by class.
type Recordings map[string][]*Recorded

// ours is where all recorded traffic is aimed at.
var ours = netip.MustParsePrefix("10.10.10.0/24")

const (
	ourHost   = "10.10.10.10"
	otherHost = "10.10.10.1"
	// atOnce is how many tools run at a time.
	atOnce = 4
	// patience is for one tool, on a machine that does much else.
	patience = 3 * time.Minute
)

// job records one class with one tool.
type job struct {
	class, origin string
	run           func(ctx context.Context, dir, file string) error
}

// Missing lists programs that Record needs and that are not installed.
func Missing() (programs []string) {
	for _, name := range []string{"hping3", "trafgen", "tcpreplay", "iperf3", "dumpcap", "ip", "unshare", "nsenter"} {
		if _, err := exec.LookPath(name); err != nil {
			programs = append(programs, name)
		}
	}
	return programs
}

// Record runs hping3, iperf3 and tcpreplay in network namespaces of their own
// and trafgen into files, and keeps the frames in memory. fixtures is the folder
// of real attacks. It must be root; nothing stays behind.
func Record(ctx context.Context, fixtures string) (Recordings, error) {
	dir, err := os.MkdirTemp("", "fnm-corpus-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := writeScripts(dir); err != nil {
		return nil, err
	}
	jobs := append(append(hpingJobs(), trafgenJobs()...), append(iperfJobs(), fixtureJobs(fixtures)...)...)
	results := make([]*Recorded, len(jobs))
	errs := make([]error, len(jobs))
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, j := range jobs {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if results[i], errs[i] = j.record(ctx, dir, fmt.Sprintf("%s/%d.pcap", dir, i)); errs[i] != nil {
				errs[i] = fmt.Errorf("recording %s of %s: %w", j.class, j.origin, errs[i])
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	out := Recordings{}
	for i, j := range jobs {
		out[j.class] = append(out[j.class], results[i])
	}
	return out, nil
}

func (j *job) record(ctx context.Context, dir, file string) (*Recorded, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := j.run(ctx, dir, file); err != nil {
		return nil, err
	}
	frames, err := readFrames(file)
	if err != nil {
		return nil, err
	}
	r := &Recorded{Origin: j.origin}
	if r.In, err = gen.NewRecording(frames, ours, gen.Incoming); err != nil {
		return nil, err
	}
	if r.In.Len() < enough {
		return nil, fmt.Errorf("only %d frames towards us", r.In.Len())
	}
	// Addresses behind ours may talk to each other's side: that is incoming.
	if r.Out, err = gen.NewRecording(frames, netip.MustParsePrefix(ourHost+"/32"), gen.Outgoing); err != nil {
		r.Out = nil
	}
	return r, nil
}

// enough frames are a recording.
const enough = 100

// readFrames reads all Ethernet frames of a capture file.
func readFrames(path string) ([][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var frames [][]byte
	for {
		data, _, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // the capture program was ended
			return frames, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		frames = append(frames, data)
	}
}

// writeScripts writes what runs inside the namespaces.
func writeScripts(dir string) error {
	for name, text := range map[string]string{"oneway.sh": oneWay, "pair.sh": pair} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// isolated runs a script in namespaces for network and processes: when it ends
// all that it started ends too.
func isolated(ctx context.Context, script string, args ...string) error {
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--net", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", script}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
