package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"

	"github.com/fastnetmon-go/fastnetmon/sdk/prefix"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// gopher is a state of gopher-lua: slower than LuaJIT, and there wherever Go
// is.
type gopher struct {
	*host
	state  *lua.LState
	limit  uint64
	record *lua.LUserData // the record at hand: its value is a *traffic.Record
	run1   *lua.LFunction // judges a batch
	judge  lua.LValue     // the script's function
	batch  []traffic.Record
	at     int
}

// unsafeNames are globals that reach out of a script.
var unsafeNames = []string{"io", "os", "debug", "package", "module", "dofile", "loadfile", "load", "loadstring", "getfenv", "setfenv", "newproxy", "collectgarbage", "channel", "_printregs"}

func newGopher(ctx context.Context, s *script, h *host, limit uint64) (engine, error) {
	e := &gopher{host: h, limit: limit, state: lua.NewState(lua.Options{SkipOpenLibs: true, RegistryMaxSize: 1 << 18, CallStackSize: 200})}
	for _, open := range []lua.LGFunction{lua.OpenBase, lua.OpenTable, lua.OpenString, lua.OpenMath, lua.OpenCoroutine} {
		e.state.Push(e.state.NewFunction(open))
		e.state.Call(0, 0)
	}
	e.state.SetGlobal("bit", e.bits())
	e.boundStrings()
	e.record = e.state.NewUserData()
	e.record.Metatable = e.metatable()
	e.run1 = e.state.NewFunction(e.judgeBatch)
	hooks, err := e.chunk("common", commonLua, e.offered())
	if err != nil {
		return nil, err
	}
	for _, name := range unsafeNames {
		e.state.SetGlobal(name, lua.LNil)
	}
	if ctx.Done() != nil {
		e.state.SetContext(ctx)
	}
	if _, err = e.chunk(s.name, s.text); err == nil {
		e.judge, err = e.call(hooks)
	}
	if err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// chunk runs a piece of Lua and returns what it does.
func (e *gopher) chunk(name, text string, args ...lua.LValue) (lua.LValue, error) {
	f, err := e.state.Load(strings.NewReader(text), name)
	if err != nil {
		return nil, syntaxError(name, text, err)
	}
	return e.call(f, args...)
}

// syntaxError says where a text is not Lua as LuaJIT does: file, line, mistake.
func syntaxError(name, text string, err error) error {
	var api *lua.ApiError
	if !errors.As(err, &api) {
		return err
	}
	var parsed *parse.Error
	var compiled *lua.CompileError
	switch {
	case errors.As(api.Cause, &parsed) && parsed.Pos.Line == parse.EOF:
		return fmt.Errorf("%s:%d: %s at the end", name, 1+strings.Count(text, "\n"), parsed.Message)
	case errors.As(api.Cause, &parsed):
		return fmt.Errorf("%s:%d: %s near '%s'", name, parsed.Pos.Line, parsed.Message, parsed.Token)
	case errors.As(api.Cause, &compiled):
		return fmt.Errorf("%s:%d: %s", name, compiled.Line, compiled.Message)
	}
	return plainError(err)
}

func (e *gopher) call(f lua.LValue, args ...lua.LValue) (lua.LValue, error) {
	if err := e.state.CallByParam(lua.P{Fn: f, NRet: 1, Protect: true}, args...); err != nil {
		return nil, plainError(err)
	}
	v := e.state.Get(-1)
	e.state.SetTop(0)
	return v, nil
}

// plainError is an error without the stack of calls.
func plainError(err error) error {
	var api *lua.ApiError
	if errors.As(err, &api) && api.Type == lua.ApiErrorRun && api.Object != nil {
		return errors.New(api.Object.String())
	}
	if errors.As(err, &api) && api.Cause != nil {
		return errors.New(strings.Join(strings.Fields(api.Cause.Error()), " "))
	}
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}

func (e *gopher) run(batch []traffic.Record, first int) (int, error) {
	e.batch, e.at = batch, first
	err := e.state.CallByParam(lua.P{Fn: e.run1, Protect: true})
	e.batch = nil
	if err != nil {
		e.state.SetTop(0)
		return e.at, plainError(err)
	}
	return len(batch), nil
}

// judgeBatch calls the script for each record that is left of the batch.
func (e *gopher) judgeBatch(l *lua.LState) int {
	for ; e.at < len(e.batch); e.at++ {
		r := &e.batch[e.at]
		e.record.Value = r
		l.Push(e.judge)
		l.Push(e.record)
		l.Call(1, 1)
		if l.Get(-1) == lua.LFalse {
			r.Verdict = traffic.VerdictDrop
		}
		l.Pop(1)
	}
	return 0
}

func (e *gopher) used() uint64 { return 0 }
func (e *gopher) close()       { e.state.Close() }

// boundStrings keeps string.rep from making at once what no watch could
// notice in time.
func (e *gopher) boundStrings() {
	library, ok := e.state.GetGlobal("string").(*lua.LTable)
	if !ok {
		return
	}
	library.RawSetString("dump", lua.LNil)
	library.RawSetString("rep", e.state.NewFunction(func(l *lua.LState) int {
		s, n := l.CheckString(1), l.CheckInt(2)
		if n > 0 && uint64(len(s))*uint64(n) > e.limit/4 {
			l.RaiseError("not enough memory")
		}
		l.Push(lua.LString(strings.Repeat(s, max(0, n))))
		return 1
	}))
}

// offered is the table of what the engine adds to Lua.
func (e *gopher) offered() *lua.LTable {
	t := e.state.NewTable()
	set := func(name string, f lua.LGFunction) { t.RawSetString(name, e.state.NewFunction(f)) }
	set("print", func(l *lua.LState) int {
		s := l.CheckString(1)
		e.print(s[:min(len(s), 1000)])
		return 0
	})
	set("read", func(l *lua.LState) int {
		data, err := e.read(l.CheckString(1))
		if err != nil {
			l.RaiseError("%s", err.Error())
		}
		l.Push(lua.LString(data))
		return 1
	})
	set("prefixes", func(l *lua.LState) int {
		list, err := e.prefixes(l.CheckString(1), l.OptString(2, ""))
		if err != nil {
			l.RaiseError("%s", err.Error())
		}
		l.Push(e.set(prefix.BuildSet(list, nil)))
		return 1
	})
	return t
}

// set is a set of prefixes as scripts see it.
func (e *gopher) set(s *prefix.Set) *lua.LTable {
	t := e.state.NewTable()
	add := func(name string, holds func(r *traffic.Record) bool) {
		t.RawSetString(name, e.state.NewFunction(func(l *lua.LState) int {
			r, ok := l.CheckUserData(2).Value.(*traffic.Record)
			if !ok {
				l.ArgError(2, "a set of prefixes is asked about a record")
			}
			l.Push(lua.LBool(holds(r)))
			return 1
		}))
	}
	add("src", func(r *traffic.Record) bool { return s.Contains(&r.Src) })
	add("dst", func(r *traffic.Record) bool { return s.Contains(&r.Dst) })
	add("either", func(r *traffic.Record) bool { return s.Contains(&r.Src) || s.Contains(&r.Dst) })
	t.RawSetString("has", e.state.NewFunction(func(l *lua.LState) int {
		a, err := netip.ParseAddr(l.CheckString(2))
		if err != nil {
			l.RaiseError("%s is no address", l.CheckString(2))
		}
		l.Push(lua.LBool(s.ContainsAddr(a)))
		return 1
	}))
	return t
}

// metatable makes a record's fields readable and its sampling rate writable.
func (e *gopher) metatable() *lua.LTable {
	t := e.state.NewTable()
	mark := e.state.NewFunction(func(l *lua.LState) int {
		e.at1(l).Class |= class(l)
		return 0
	})
	marked := e.state.NewFunction(func(l *lua.LState) int {
		l.Push(lua.LBool(e.at1(l).Class&class(l) != 0))
		return 1
	})
	t.RawSetString("__index", e.state.NewFunction(func(l *lua.LState) int {
		name := l.CheckString(2)
		switch name {
		case "mark":
			l.Push(mark)
			return 1
		case "marked":
			l.Push(marked)
			return 1
		}
		v := e.field(e.at1(l), name)
		if v == nil {
			l.RaiseError("a record has no field %s", name)
		}
		l.Push(v)
		return 1
	}))
	t.RawSetString("__newindex", e.state.NewFunction(func(l *lua.LState) int {
		if name := l.CheckString(2); name != "sampling" {
			l.RaiseError("of a record only sampling can be set, not %s", name)
		}
		e.at1(l).Sampling = uint32(int64(l.CheckNumber(3)))
		return 0
	}))
	t.RawSetString("__metatable", lua.LFalse)
	return t
}

func (e *gopher) at1(l *lua.LState) *traffic.Record {
	r, ok := l.CheckUserData(1).Value.(*traffic.Record)
	if !ok {
		l.ArgError(1, "this is no record")
	}
	return r
}

func class(l *lua.LState) uint64 {
	n := float64(l.CheckNumber(2))
	if n < 0 || n >= maxClasses || n != float64(int(n)) {
		l.RaiseError("mark: %s is no class, there are 0 to %d", fmt.Sprint(n), maxClasses-1)
	}
	return 1 << int(n)
}

// bits is the library bit, as LuaJIT has it.
func (e *gopher) bits() *lua.LTable {
	t := e.state.NewTable()
	number := func(l *lua.LState, i int) uint32 { return uint32(int64(l.CheckNumber(i))) }
	fold := func(name string, f func(a, b uint32) uint32) {
		t.RawSetString(name, e.state.NewFunction(func(l *lua.LState) int {
			n := number(l, 1)
			for i := 2; i <= l.GetTop(); i++ {
				n = f(n, number(l, i))
			}
			l.Push(lua.LNumber(int32(n)))
			return 1
		}))
	}
	shift := func(name string, f func(a uint32, by uint32) uint32) {
		t.RawSetString(name, e.state.NewFunction(func(l *lua.LState) int {
			l.Push(lua.LNumber(int32(f(number(l, 1), number(l, 2)&31))))
			return 1
		}))
	}
	fold("band", func(a, b uint32) uint32 { return a & b })
	fold("bor", func(a, b uint32) uint32 { return a | b })
	fold("bxor", func(a, b uint32) uint32 { return a ^ b })
	fold("tobit", func(a, _ uint32) uint32 { return a })
	shift("lshift", func(a, by uint32) uint32 { return a << by })
	shift("rshift", func(a, by uint32) uint32 { return a >> by })
	shift("arshift", func(a, by uint32) uint32 { return uint32(int32(a) >> by) })
	shift("rol", func(a, by uint32) uint32 { return a<<by | a>>(32-by) })
	shift("ror", func(a, by uint32) uint32 { return a>>by | a<<(32-by) })
	t.RawSetString("bnot", e.state.NewFunction(func(l *lua.LState) int {
		l.Push(lua.LNumber(int32(^number(l, 1))))
		return 1
	}))
	t.RawSetString("bswap", e.state.NewFunction(func(l *lua.LState) int {
		n := number(l, 1)
		l.Push(lua.LNumber(int32(n<<24 | n>>24 | n<<8&0xff0000 | n>>8&0xff00)))
		return 1
	}))
	t.RawSetString("tohex", e.state.NewFunction(func(l *lua.LState) int {
		digits := min(max(l.OptInt(2, 8), -8), 8)
		text := fmt.Sprintf("%08x", number(l, 1))
		if digits < 0 {
			text, digits = strings.ToUpper(text), -digits
		}
		l.Push(lua.LString(text[8-digits:]))
		return 1
	}))
	return t
}
