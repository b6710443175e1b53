//go:build luajit && cgo

package main

/*
#cgo pkg-config: luajit
#include <stdlib.h>
#include <string.h>
#include "engine.h"
*/
import "C"

import (
	"context"
	_ "embed"
	"errors"
	"runtime/cgo"
	"unsafe"

	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

//go:embed lua/luajit.lua
var luajitLua string

// engineName is the engine that scripts run on where none is asked for.
const engineName = engineLuaJIT

// jit is a LuaJIT state.
type jit struct {
	*host
	state  *C.fnm_state
	handle cgo.Handle
	limit  uint64
	ctx    context.Context  // ends the script's loading
	memory []unsafe.Pointer // of sets of prefixes
}

// newLuaJIT makes a state and runs a script in it.
func newLuaJIT(ctx context.Context, s *script, h *host, limit uint64) (engine, error) {
	e := &jit{host: h, limit: limit, ctx: ctx}
	e.handle = cgo.NewHandle(e)
	e.state = C.fnm_open(C.uintptr_t(e.handle), C.size_t(limit))
	if e.state == nil {
		e.handle.Delete()
		return nil, errors.New("LuaJIT: there is no memory for a state")
	}
	name, text := C.CString("@"+s.name), C.CString(s.text)
	defer C.free(unsafe.Pointer(name))
	defer C.free(unsafe.Pointer(text))
	bounded := C.int(0)
	if ctx.Done() != nil {
		bounded = 1
	}
	common, own := C.CString(commonLua), C.CString(luajitLua)
	defer C.free(unsafe.Pointer(common))
	defer C.free(unsafe.Pointer(own))
	if C.fnm_engine(e.state, common, C.size_t(len(commonLua)), own, C.size_t(len(luajitLua))) != 0 ||
		C.fnm_script(e.state, name, text, C.size_t(len(s.text)), bounded) != 0 {
		err := errors.New(C.GoString(C.fnm_error(e.state)))
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *jit) run(batch []traffic.Record, first int) (int, error) {
	if C.fnm_run(e.state, unsafe.Pointer(unsafe.SliceData(batch)), C.int(len(batch)), C.int(first)) == 0 {
		return len(batch), nil
	}
	at := int(C.fnm_at(e.state))
	if at < first || at >= len(batch) { // it failed before the first record
		at = first
	}
	return at, errors.New(C.GoString(C.fnm_error(e.state)))
}

func (e *jit) used() uint64 { return uint64(C.fnm_used(e.state)) }

func (e *jit) close() {
	C.fnm_close(e.state)
	e.handle.Delete()
	for _, p := range e.memory {
		C.free(p)
	}
}

// of is the state that a call from C is about.
func of(handle C.uintptr_t) *jit { return cgo.Handle(handle).Value().(*jit) }

//export fnmEnded
func fnmEnded(handle C.uintptr_t) C.int {
	if of(handle).ctx.Err() != nil {
		return 1
	}
	return 0
}

//export fnmPrint
func fnmPrint(handle C.uintptr_t, text *C.char, n C.size_t) {
	of(handle).print(C.GoStringN(text, C.int(n)))
}

//export fnmRead
func fnmRead(handle C.uintptr_t, path *C.char, n C.size_t, data **C.char, size *C.size_t) *C.char {
	b, err := of(handle).read(C.GoStringN(path, C.int(n)))
	if err != nil {
		return C.CString(err.Error())
	}
	*data, *size = (*C.char)(C.CBytes(b)), C.size_t(len(b))
	return nil
}

//export fnmAgent
func fnmAgent(handle C.uintptr_t, index C.uint32_t, text *C.char) C.size_t {
	s := of(handle).agent(uint32(index))
	return C.size_t(copy(unsafe.Slice((*byte)(unsafe.Pointer(text)), 64), s))
}

//export fnmPrefixes
func fnmPrefixes(handle C.uintptr_t, text *C.char, n C.size_t, file *C.char, fileLen C.size_t, ranges *unsafe.Pointer, count *C.uint32_t) *C.char {
	e := of(handle)
	list, err := e.prefixes(C.GoStringN(text, C.int(n)), C.GoStringN(file, C.int(fileLen)))
	if err != nil {
		return C.CString(err.Error())
	}
	out := spans(list)
	size := uintptr(len(out)+1) * unsafe.Sizeof(span{})
	memory := C.malloc(C.size_t(size))
	copy(unsafe.Slice((*span)(memory), len(out)), out)
	e.memory = append(e.memory, memory)
	*ranges, *count = memory, C.uint32_t(len(out))
	return nil
}
