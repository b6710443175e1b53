package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// journal is the file that remembers which of gobgpd's routes are ours: a line
// each, with family and NLRI.
type journal struct {
	path string // "" there is none
	last []byte
}

func newJournal(dir string) *journal {
	if dir == "" {
		return &journal{}
	}
	return &journal{path: filepath.Join(dir, "announced")}
}

// maxJournal bounds what is read of a file that may be anything.
const maxJournal = 16 << 20

func (j *journal) load() ([]routeKey, error) {
	if j.path == "" {
		return nil, errors.New("there is no state directory")
	}
	info, err := os.Stat(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxJournal {
		return nil, fmt.Errorf("%s has %d octets, more than it ever should", j.path, info.Size())
	}
	data, err := os.ReadFile(j.path)
	if err != nil {
		return nil, err
	}
	var keys []routeKey
	for line := range strings.Lines(string(data)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		nlri, err := hex.DecodeString(text)
		k := routeKey{families[name], string(nlri)}
		if err == nil && k.family != 0 {
			_, err = k.decode()
		}
		if err != nil || k.family == 0 || len(nlri) == 0 {
			return keys, fmt.Errorf("%s is damaged: %q is no route", j.path, strings.TrimSpace(line))
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// save writes which routes are ours. The file is whole at any time.
func (j *journal) save(ours map[routeKey]*route) error {
	if j.path == "" {
		return nil
	}
	var b bytes.Buffer
	for _, k := range slices.SortedFunc(maps.Keys(ours), compareKeys) {
		fmt.Fprintf(&b, "%s %x\n", familyName(k.family), k.nlri)
	}
	if j.last != nil && bytes.Equal(j.last, b.Bytes()) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(j.path), "announced-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), j.path); err != nil {
		return err
	}
	j.last = b.Bytes()
	return nil
}

// credentials are how gobgpd is spoken to.
func (s *settings) credentials() (credentials.TransportCredentials, error) {
	if s.APICA == "" {
		return insecure.NewCredentials(), nil
	}
	c, err := s.tls()
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(c), nil
}

func (s *settings) tls() (*tls.Config, error) {
	pem, err := os.ReadFile(s.APICA)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12, ServerName: s.APIName}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM form", s.APICA)
	}
	if c.ServerName == "" {
		if c.ServerName, _, err = net.SplitHostPort(s.API); err != nil {
			return nil, err
		}
	}
	if s.APICert != "" {
		pair, err := tls.LoadX509KeyPair(s.APICert, s.APIKey)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
