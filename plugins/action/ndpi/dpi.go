//go:build ndpi

package main

/*
#cgo pkg-config: libndpi
#include <stdlib.h>
#include <string.h>
#include <ndpi_api.h>

// Of IP addresses and ports alone nothing is said: only what was recognized in
// the packets' octets counts.
static struct ndpi_detection_module_struct *fnm_open(void) {
	NDPI_PROTOCOL_BITMASK all;
	struct ndpi_detection_module_struct *m = ndpi_init_detection_module(ndpi_dont_load_tor_hosts | ndpi_dont_init_libgcrypt);
	if (m == NULL) return NULL;
	NDPI_BITMASK_SET_ALL(all);
	ndpi_set_protocol_detection_bitmask2(m, &all);
	ndpi_finalize_initialization(m);
	return m;
}

static struct ndpi_flow_struct *fnm_flow(void) {
	return calloc(1, ndpi_detection_get_sizeof_ndpi_flow_struct());
}

static void fnm_free(struct ndpi_flow_struct *f) {
	ndpi_free_flow_data(f);
	free(f);
}

// fnm_result is the most specific protocol that was recognized, 0 for none.
static unsigned fnm_result(struct ndpi_detection_module_struct *m, struct ndpi_flow_struct *f) {
	u_int8_t guessed = 0;
	ndpi_protocol p = ndpi_detection_giveup(m, f, 0, &guessed);
	if (guessed || f->confidence < NDPI_CONFIDENCE_DPI_CACHE) return NDPI_PROTOCOL_UNKNOWN;
	// A DNS answer about a site is DNS, not the site's own protocol.
	return p.master_protocol != NDPI_PROTOCOL_UNKNOWN ? p.master_protocol : p.app_protocol;
}
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"sync"
	"unsafe"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

// slack is how many zeros stand behind a packet in the library's memory, so
// that a dissector that reads on finds nothing of anybody else's.
const slack = 512

// dpi is the detection module of the library, which is used by one goroutine at
// a time. All its memory is C's: nothing of Go's is handed over.
type dpi struct {
	mu     sync.Mutex
	module *C.struct_ndpi_detection_module_struct
	buffer unsafe.Pointer // sdk.MaxFrame + slack octets
	packet []byte         // the same
	ms     C.u_int64_t    // a clock of our own: packets' times may be anything
}

// unknown is the protocol that is none.
const unknown = uint16(C.NDPI_PROTOCOL_UNKNOWN)

// openDPI makes the process's detection module, some 10 MB. It is there for as
// long as the process is: the library does not work any more once one of its
// modules was freed.
var openDPI = sync.OnceValues(func() (*dpi, error) {
	d := &dpi{module: C.fnm_open(), buffer: C.calloc(1, sdk.MaxFrame+slack)}
	if d.module == nil || d.buffer == nil {
		return nil, errors.New("libndpi cannot be initialized: there is not enough memory")
	}
	d.packet = unsafe.Slice((*byte)(d.buffer), sdk.MaxFrame+slack)
	return d, nil
})

// library is the version of the library.
func library() string { return C.GoString(C.ndpi_revision()) }

// name is what the library calls a protocol.
func (d *dpi) name(protocol uint16) string {
	return C.GoString(C.ndpi_get_proto_name(d.module, C.u_int16_t(protocol)))
}

// conversation is one flow's state in the library.
type conversation struct {
	flow *C.struct_ndpi_flow_struct
}

// begin makes the state of a flow; nil where there is no memory for it.
func (d *dpi) begin() *conversation {
	if f := C.fnm_flow(); f != nil {
		return &conversation{f}
	}
	return nil
}

// look gives a flow's next IP packet, of which maybe only the first octets are
// there, to the library.
func (d *dpi) look(c *conversation, ip []byte) {
	n := copy(d.packet[:sdk.MaxFrame], ip)
	clear(d.packet[n:])
	whole(d.packet[:n])
	d.ms++
	C.ndpi_detection_process_packet(d.module, c.flow, (*C.uchar)(d.buffer), C.ushort(n), d.ms)
}

// end says what the flow was, and frees its state.
func (d *dpi) end(c *conversation) uint16 {
	protocol := C.fnm_result(d.module, c.flow)
	C.fnm_free(c.flow)
	c.flow = nil
	return uint16(protocol)
}

// whole makes of the beginning of a packet a short packet: dissectors believe
// the lengths in its headers, and would read beyond its end.
func whole(ip []byte) {
	if len(ip) < 20 {
		return
	}
	header := 40
	switch ip[0] >> 4 {
	case 4:
		header = 4 * int(ip[0]&15)
		if int(binary.BigEndian.Uint16(ip[2:])) > len(ip) {
			binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		}
		if ip[9] != protoUDP {
			return
		}
	case 6:
		if len(ip) < header {
			return
		}
		if int(binary.BigEndian.Uint16(ip[4:])) > len(ip)-header {
			binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-header))
		}
		if ip[6] != protoUDP {
			return
		}
	default:
		return
	}
	if udp := ip[min(header, len(ip)):]; len(udp) >= 8 && int(binary.BigEndian.Uint16(udp[4:])) > len(udp) {
		binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	}
}

const protoUDP = 17
