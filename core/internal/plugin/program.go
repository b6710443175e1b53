package plugin

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"syscall"
)

// program is an opened executable: what is checked is what is run.
type program struct {
	file   *os.File
	path   string
	script bool // begins with #!: an interpreter will open it again
}

// openProgram opens path, checks its permissions and, unless want is empty,
// its SHA-256.
func openProgram(path string, want []byte) (*program, error) {
	// Without O_NONBLOCK, opening a named pipe would wait for a writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	p := &program{file: file, path: path}
	if err := p.check(want); err != nil {
		file.Close()
		return nil, err
	}
	return p, nil
}

func (p *program) check(want []byte) error {
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	if err := permitted(p.path, info); err != nil {
		return err
	}
	var magic [2]byte
	if _, err := p.file.ReadAt(magic[:], 0); err != nil {
		return fmt.Errorf("%s: cannot be read: %w", p.path, err)
	}
	p.script = bytes.Equal(magic[:], []byte("#!"))
	if len(want) == 0 {
		return nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, p.file); err != nil {
		return fmt.Errorf("%s: cannot be read: %w", p.path, err)
	}
	if got := sum.Sum(nil); subtle.ConstantTimeCompare(got, want) != 1 {
		return fmt.Errorf("%s has changed: its SHA-256 is %s, expected %s",
			p.path, hex.EncodeToString(got), hex.EncodeToString(want))
	}
	return nil
}

func (p *program) close() { p.file.Close() }
