package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The same scripts do the same on both engines.
func TestScripts(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("list", []byte("203.0.113.0/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("exclude.json", []byte(`{"22.11.22.33":{33:"BB",4:"BB"},"192.0.2.10":{7:"\u00e9\n"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ script, want string }{
		"keeps":      {`function filter(r) end`, "....."},
		"drops":      {`function filter(r) return false end`, "xxxxx"},
		"protocol":   {`function filter(r) return r.protocol ~= 17 end`, "x.x.."},
		"five":       {`function filter(r) return not (r.protocol == 17 and (r.src_port == 53 or r.dst_port == 53) and r.length > 512 and r.dst == "203.0.113.1") end`, "x...."},
		"ports":      {`local p = ports{53, "6000-6008"} function filter(r) return not p:either(r) end`, "x.xx."},
		"ports src":  {`local p = ports{53} function filter(r) return not p:src(r) and not p:dst(r) and p:has(53) end`, "x.x.."},
		"prefixes":   {`local p = prefixes{"198.51.100.0/24", "2001:db8:1::/48"} function filter(r) return not p:src(r) and not p:dst(r) end`, "x.x.."},
		"file":       {`local p = prefixes{file = "list"} function filter(r) return not p:either(r) end`, "xx.x."},
		"has":        {`local p = prefixes{"::/0"} function filter(r) return p:has("2001:db8::1") and not p:has("10.0.0.1") end`, "....."},
		"families":   {`local p = prefixes{"0.0.0.0/0"} function filter(r) return p:src(r) ~= r.ipv6 end`, "....."},
		"texts":      {`local want = { ["198.51.100.7"] = true, ["2001:db8::1:0:0:1"] = true, ["::"] = true } function filter(r) return not want[r.src] end`, "x.x.x"},
		"marks":      {`function filter(r) return r.is_flow and not r.fragment and not r.later_fragment and not r.dropped end`, "xxx.x"},
		"time":       {`function filter(r) return r.time ~= 1700000000.5 end`, "...x."},
		"totals":     {`function filter(r) return not (r.packets == 10 and r.bytes == 12000 and r.sampling == 10 and r.ttl == 60 and r.vlan == 9) end`, "x...."},
		"ifs":        {`function filter(r) return r.in_if ~= 33 and r.out_if ~= 33 and r.src_as ~= 70000 and r.icmp_type ~= 135 end`, "x..xx"},
		"exporter":   {`function filter(r) return r.exporter ~= "22.11.22.33" end`, "x...x"},
		"next hop":   {`function filter(r) return r.next_hop ~= "192.0.2.254" end`, "...x."},
		"bit":        {`local bit = require "bit" function filter(r) return bit.band(r.tcp_flags, bit.bor(2, 16)) ~= 18 and bit.lshift(1, 31) == -2147483648 and bit.tohex(255, 4) == "00ff" end`, "...x."},
		"closure":    {`local n = 0 function filter(r) n = n + 1 return n % 2 == 0 end`, "x.x.x"},
		"json":       {`local json = require("json") local t = json.decode('{"a": [1, 2.5, -3e2, true, null, {"b": "\\u0041\\n"}], 5: "x"}') assert(t.a[2] == 2.5 and t.a[3] == -300 and t[5] == "x") function filter() return t.a[4] end`, "....."},
		"global":     {`function filter(r) return io == nil and os == nil and debug == nil and load == nil and loadstring == nil and dofile == nil and package == nil and string.dump == nil and getfenv == nil and jit == nil end`, "....."},
		"no modules": {`function filter(r) local ok, why = pcall(require, "os") return not ok and why:find("require knows ffi, bit and json") ~= nil end`, "....."},
		"read only":  {`function filter(r) local ok = pcall(function() r.src_port = 1 end) return not ok end`, "....."},
		"no field":   {`function filter(r) local ok, why = pcall(function() return r.colour end) return not ok and why:find("colour") ~= nil end`, "....."},
		"no memory":  {`function filter(r) local ffi = require "ffi" return ffi.new == nil and ffi.C == nil and ffi.load == nil end`, "....."},
		"hidden":     {`function filter(r) return not getmetatable(r) or type(getmetatable(r)) ~= "table" end`, "....."},
		"bare sets":  {`local p = prefixes{"10.0.0.0/8"} function filter(r) return not pcall(p.src, p, {src_ = "short"}) and not pcall(p.src, p, "x") end`, "....."},
	} {
		each(t, func(t *testing.T, engine string) {
			_, j := mustTest(t, engine, c.script)
			j.Exporters(exporters)
			batch := records()
			if err := j.Judge(batch); err != nil || verdicts(batch) != c.want {
				t.Errorf("%s: %s, want %s: %v\n%s", name, verdicts(batch), c.want, err, c.script)
			}
			for i, r := range batch {
				r.Verdict = records()[i].Verdict
				if r != records()[i] {
					t.Errorf("%s: record %d was changed: %+v", name, i, r)
				}
			}
		})
	}
}

func TestMarkAndSampling(t *testing.T) {
	each(t, func(t *testing.T, engine string) {
		_, j := mustTest(t, engine, `
			function filter(r)
				if r.protocol == 17 then r:mark(0) r:mark(63) end
				if r:marked(63) then r.sampling = r.sampling * 100 end
			end`)
		batch := records()
		if err := j.Judge(batch); err != nil {
			t.Fatal(err)
		}
		for i, r := range batch {
			want, rate := uint64(0), records()[i].Sampling
			if r.Protocol == 17 {
				want, rate = 1|1<<63, rate*100
			}
			if r.Class != want || r.Sampling != rate {
				t.Errorf("record %d has class %x and sampling %d", i, r.Class, r.Sampling)
			}
		}
	})
}

// The two hooks of the original, written from its contract, unchanged on both
// engines: the script of a site that excludes interfaces.
const original = `
local json = require("json")
local ffi = require("ffi")
local bit = require("bit")
ffi.cdef([[
typedef struct __attribute__((packed)) NF5_FLOW {
	uint32_t src_ip, dest_ip, nexthop_ip;
	uint16_t if_index_in, if_index_out;
	uint32_t flow_packets, flow_octets, flow_start, flow_finish;
	uint16_t src_port, dest_port;
	uint8_t pad1, tcp_flags, protocol, tos;
	uint16_t src_as, dest_as;
	uint8_t src_mask, dst_mask;
	uint16_t pad2;
} NF5_FLOW_t;
typedef struct SFSample SFSample;
]])
local excluded = json.decode_file("exclude.json")

function process_netflow(flow_agent_ip, flow)
	local netlow5_t = ffi.typeof("NF5_FLOW_t*")
	local lua_flow = ffi.cast(netlow5_t, flow)
	local agent = excluded[flow_agent_ip]
	if agent and agent[lua_flow.if_index_in] then
		return false
	end
	assert(lua_flow.pad1 == 0 and lua_flow.src_mask == 0)
	if lua_flow.protocol == 6 then
		assert(lua_flow.flow_packets == 10 and lua_flow.flow_octets == 15000)
		assert(lua_flow.flow_finish - lua_flow.flow_start == 3000)
		assert(bit.band(lua_flow.src_ip, 0xff) == 203 and lua_flow.dest_port == 6003 and lua_flow.src_as == 70000 - 65536)
		assert(lua_flow.nexthop_ip == 254 * 16777216 + 2 * 65536 + 192)
	end
	return true
end

function process_sflow(flow_agent_ip, flow)
	local lua_flow = ffi.cast("SFSample*", flow)
	assert(lua_flow.meanSkipCount == 10 and lua_flow.dcd_ipProtocol == 17 and lua_flow.in_vlan == 9)
	assert(bit.band(lua_flow.ipsrc.address.ip_v4.addr, 0xff) == 198 and lua_flow.ipsrc.type == 1)
	local agent = excluded[flow_agent_ip]
	if agent and agent[lua_flow.outputPort] then
		return false
	end
	return true
end
`

func TestOriginalHooks(t *testing.T) {
	t.Chdir(t.TempDir())
	each(t, func(t *testing.T, engine string) {
		for list, want := range map[string]string{
			`{"22.11.22.33":{33:"BB",4:"BB"},"192.0.2.10":{8:"BB"}}`: "x....",
			`{"192.0.2.10":{7:"BB"}}`:                                "...x.",
			`{"22.11.22.33":{0:"BB"}}`:                               "....x",
			`{}`:                                                     ".....",
		} {
			if err := os.WriteFile("exclude.json", []byte(list), 0o600); err != nil {
				t.Fatal(err)
			}
			_, j := mustTest(t, engine, original)
			j.Exporters(exporters)
			batch := records()
			if err := j.Judge(batch); err != nil || verdicts(batch) != want {
				t.Errorf("%s: %s, want %s: %v", list, verdicts(batch), want, err)
			}
		}
		// What the hooks do not return true for is dropped; what they are given
		// cannot be changed.
		_, j := mustTest(t, engine, `function process_netflow() end function process_sflow(_, s) return not pcall(function() s.outputPort = 1 end) and not pcall(function() return s.colour end) end`)
		j.Exporters(exporters)
		batch := records()
		if err := j.Judge(batch); err != nil || verdicts(batch) != "...xx" {
			t.Errorf("%s: %v", verdicts(batch), err)
		}
	})
}

// What is wrong with a script is said with its file and line, before it is in
// force.
func TestScriptMistakes(t *testing.T) {
	each(t, func(t *testing.T, engine string) {
		for script, say := range map[string]string{
			"function filter(r)\nreturn r.src_port ==\nend":            "script.lua:3: ",
			"function filter(r)\n\nlocal x":                            "script.lua:3: ",
			"function filter(r)\nbreak\nend":                           "script.lua:2: ",
			"\n\nerror('no list')":                                     "script.lua:3: no list",
			"local x = 1":                                              "none of the functions filter, process_netflow and process_sflow",
			"local os = require('os')":                                 "require knows ffi, bit and json, not os",
			"local p = ports{70000}":                                   "70000 is no port",
			"local p = prefixes{'10.0.0.0/40'}":                        `"10.0.0.0/40" is not a prefix`,
			"local p = prefixes{file = 'none'}":                        "none: no such file",
			"local t = require('json').decode('{\"a\": }')":            "json: line 1: a value was expected",
			"local t = require('json').decode_file('/proc/self/none')": "no such file",
			"\x1bLJ\x02": "compiled Lua",
			"local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1e6) .. i end": "not enough memory",
		} {
			if engine == engineGopher && strings.Contains(script, "1e9") {
				continue // its memory is Go's: the guard ends the process
			}
			_, err := newTest(t, engine, script)
			if err == nil || !strings.Contains(err.Error(), say) {
				t.Errorf("%q: %v, want %q", script, err, say)
			}
		}
	})
}

// A script that fails for a record fails for that one only.
func TestErrors(t *testing.T) {
	each(t, func(t *testing.T, engine string) {
		f, j := mustTest(t, engine, "local n = 0\nfunction filter(r)\n  n = n + 1\n  if n % 3 == 0 then return nil + 1 end\n  return n % 2 == 0\nend")
		var lines []string
		var times uint64
		f.errors.log = func(message string, n uint64) { lines, times = append(lines, message), times+n }
		batch := make([]traffic.Record, 512)
		err := j.Judge(batch)
		var partial *sdk.PartialError
		if !errors.As(err, &partial) || !strings.Contains(err.Error(), "script.lua:4: ") {
			t.Fatal(err)
		}
		for i := range batch {
			want := []traffic.Verdict{traffic.VerdictDrop, traffic.VerdictNone}[i%2]
			if i%3 == 2 {
				want = traffic.VerdictUnjudged
			}
			if batch[i].Verdict != want {
				t.Fatalf("record %d has verdict %d, want %d", i, batch[i].Verdict, want)
			}
		}
		if len(lines) != 1 || times != 1 || f.errors.times != 170-1 {
			t.Errorf("%d lines for %d errors, %d to come: %v", len(lines), times, f.errors.times, lines)
		}
	})
}

// A memory bomb costs its record, and the state lives on.
func TestMemory(t *testing.T) {
	if engineName != engineLuaJIT {
		t.Skip("built without LuaJIT: gopher-lua's memory is Go's, the guard ends the process")
	}
	_, j := mustTest(t, engineLuaJIT, `
		function filter(r)
			if r.src_port == 53 then local t = {} while true do t[#t + 1] = ("x"):rep(1000) .. #t end end
			return false
		end`)
	batch := records()
	if err := j.Judge(batch); err == nil || !strings.Contains(err.Error(), "not enough memory") || verdicts(batch) != "!xxxx" {
		t.Errorf("%s: %v", verdicts(batch), err)
	}
	if used := j.engine.used(); used > 16<<20 {
		t.Errorf("the state holds %d octets", used)
	}
}

// A state whose memory is used up judges nothing, from the first record of each
// batch on.
func TestMemoryThatIsHeld(t *testing.T) {
	if engineName != engineLuaJIT {
		t.Skip("built without LuaJIT: gopher-lua's memory is Go's, the guard ends the process")
	}
	_, j := mustTest(t, engineLuaJIT, `local t = {} function filter(r) while true do t[#t + 1] = ("x"):rep(10000) .. #t end end`)
	for n := range 20 {
		batch := records()
		if err := j.Judge(batch); err == nil || verdicts(batch) != "!!!!!" {
			t.Fatalf("batch %d: %s: %v", n, verdicts(batch), err)
		}
	}
}
