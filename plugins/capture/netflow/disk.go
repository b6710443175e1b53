package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk/exporter"
	sdkhold "github.com/fastnetmon-go/fastnetmon/sdk/hold"
)

// The file that keeps templates over a restart: magic and version, the
// definitions, the domains that use them, and a CRC-32 (IEEE) of all that.
// Integers are big-endian, lists begin with their length in 4 octets.
const (
	fileMagic   = "fastnetmon netflow templates "
	fileVersion = 1
	fileMax     = 256 << 20
	fileKeep    = 30 * 24 * time.Hour // domains that were silent for longer are left out
)

var (
	errNoTemplates = errors.New("it is no file of templates")
	errVersion     = errors.New("it was written by another version")
	errDamaged     = errors.New("it is damaged")
)

// encode writes what the store holds. now is monotonic, wall Unix seconds.
func (st *store) encode(now, wall int64) []byte {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.dirty = false
	be := binary.BigEndian
	out := append([]byte(fileMagic), fileVersion)
	out = be.AppendUint32(out, uint32(len(st.definitions)))
	index := make(map[*template]uint32, len(st.definitions))
	for text, t := range st.definitions {
		index[t] = uint32(len(index))
		out = be.AppendUint32(out, uint32(len(text)))
		out = append(out, text...)
	}
	at := len(out)
	out = be.AppendUint32(out, 0)
	n := uint32(0)
	for _, d := range st.domains {
		saved := d.saved
		if used := d.used.Load(); used != 0 {
			saved = wall - (now-used)/int64(time.Second)
		}
		if int(d.templates.Load())+len(d.rates) == 0 || wall-saved > int64(fileKeep/time.Second) {
			continue
		}
		out = d.encode(out, saved, index)
		n++
	}
	be.PutUint32(out[at:], n)
	return be.AppendUint32(out, crc32.ChecksumIEEE(out))
}

func (d *domain) encode(out []byte, saved int64, index map[*template]uint32) []byte {
	be := binary.BigEndian
	address, _ := d.id.Source.MarshalBinary() // never fails
	out = append(out, d.id.Version, byte(len(address)))
	out = append(out, address...)
	out = be.AppendUint32(out, d.id.Domain)
	out = be.AppendUint64(out, uint64(saved))
	out = be.AppendUint64(out, uint64(d.boot.Load()))
	out = be.AppendUint32(out, uint32(d.templates.Load()))
	d.table.Load().each(func(id uint16, t *template) {
		out = be.AppendUint16(out, id)
		out = be.AppendUint32(out, index[t])
	})
	out = be.AppendUint32(out, uint32(len(d.rates)))
	for k, rate := range d.rates {
		out = be.AppendUint64(out, k.sampler)
		out = be.AppendUint32(out, k.iface)
		out = be.AppendUint32(out, rate)
	}
	return out
}

// fileReader reads what encode has written. After a read past the end all
// values are 0 and bad is set.
type fileReader struct {
	data []byte
	bad  bool
}

func (r *fileReader) take(n int) []byte {
	if n < 0 || n > len(r.data) {
		r.bad, r.data = true, nil
		return make([]byte, min(max(n, 0), 16))
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *fileReader) u8() uint8   { return r.take(1)[0] }
func (r *fileReader) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *fileReader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *fileReader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

// decode fills an empty store. On an error it stays empty.
func (st *store) decode(data []byte) error {
	head := len(fileMagic) + 1
	switch {
	case len(data) < head+4 || !bytes.HasPrefix(data, []byte(fileMagic)):
		return errNoTemplates
	case data[head-1] != fileVersion:
		return errVersion
	}
	body := data[:len(data)-4]
	if crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(data[len(body):]) {
		return errDamaged
	}
	fresh := newStore()
	r := &fileReader{data: body[head:]}
	definitions := fresh.decodeDefinitions(r)
	for n := r.u32(); n > 0 && !r.bad; n-- {
		fresh.decodeDomain(r, definitions)
	}
	if r.bad || len(r.data) > 0 {
		return errDamaged
	}
	for _, t := range definitions {
		fresh.release(t)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.domains, st.newest, st.definitions = fresh.domains, fresh.newest, fresh.definitions
	st.octets, st.templates = fresh.octets, fresh.templates
	return nil
}

func (st *store) decodeDefinitions(r *fileReader) []*template {
	var all []*template
	for n := r.u32(); n > 0 && !r.bad; n-- {
		def := r.take(int(min(r.u32(), fileMax)))
		if len(def) < definitionHead {
			r.bad = true
			break
		}
		fields, used, err := define(def[definitionHead:], countFields(def), def[0]&definitionIPFIX != 0, nil)
		if err != nil || used != len(def)-definitionHead {
			r.bad = true
			break
		}
		scope := int(binary.BigEndian.Uint16(def[1:]))
		t, err := compile(string(def), fields, def[0]&definitionOptions != 0, scope)
		if err != nil {
			r.bad = true
			break
		}
		all = append(all, st.share(t))
	}
	return all
}

// countFields is how many field specifiers a definition has.
func countFields(def []byte) (n int) {
	ipfix := def[0]&definitionIPFIX != 0
	for at := definitionHead; at+4 <= len(def); n++ {
		if ipfix && def[at]&0x80 != 0 {
			at += 4
		}
		at += 4
	}
	return n
}

func (st *store) decodeDomain(r *fileReader, definitions []*template) {
	d := &domain{id: exporter.ID{Version: r.u8()}}
	var source netip.AddrPort
	if err := source.UnmarshalBinary(r.take(int(r.u8()))); err != nil {
		r.bad = true
		return
	}
	d.id.Source, d.id.Domain = source, r.u32()
	if st.domains[d.id] != nil { // twice
		r.bad = true
		return
	}
	d.saved = int64(r.u64())
	d.boot.Store(int64(r.u64()))
	d.table.Store(emptyTable)
	m := map[uint16]*template{}
	for n := r.u32(); n > 0 && !r.bad; n-- {
		id, i := r.u16(), r.u32()
		if id < firstData || uint64(i) >= uint64(len(definitions)) {
			r.bad = true
			return
		}
		m[id] = definitions[i]
	}
	for n := r.u32(); n > 0 && !r.bad; n-- {
		k := rateKey{r.u64(), r.u32()}
		if d.rates == nil {
			d.rates = map[rateKey]uint32{}
		}
		d.rates[k] = r.u32()
		if k.iface != 0 {
			d.perInterface.Store(true)
		}
	}
	if r.bad || st.full(1, len(m)) || len(m) > st.bounds.domainTemplates || len(d.rates) > maxRates {
		return // the last ones find no room: they will be announced again
	}
	st.domains[d.id] = d
	for id, t := range m {
		st.put(d, id, t)
	}
	st.dirty = false
}

// load reads the file at path into an empty store. There need not be one.
func (st *store) load(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Size() > fileMax {
		err = fmt.Errorf("%s: it is larger than %d octets", path, fileMax)
	}
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := st.decode(data); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// save writes the store to the file at path, which is whole at any time.
func (st *store) save(path string, now, wall int64) error {
	err := sdkhold.Replace(path, st.encode(now, wall))
	if err != nil {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.dirty = true
	}
	return err
}

// changed reports whether there is something to save.
func (st *store) changed() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.dirty
}
