-- The engine's part of LuaJIT: records are read where they lie.
local host, ctx, common = ...
local ffi = require("ffi")
local bit = require("bit")

ffi.cdef [[
typedef struct {
  const uint8_t src_[16], dst_[16];
  const uint64_t packets_, bytes_;
  uint32_t sampling;
  const uint32_t duration_ms;
  const uint16_t src_port, dst_port;
  const uint8_t protocol, tcp_flags;
  const uint16_t marks_;
  const int64_t time_;
  uint64_t class_;
  const uint8_t next_hop_[16];
  const uint32_t exporter_, in_if, out_if, src_as, dst_as;
  const uint16_t vlan;
  const uint8_t ttl, tos, icmp_type, icmp_code;
  uint8_t verdict_;
  const uint8_t rest_[5];
} fnm_record;
typedef struct { int32_t at; } fnm_ctx;
]]

local band, bor, lshift = bit.band, bit.bor, bit.lshift
local tonumber, error, tostring, type = tonumber, error, tostring, type
local format = string.format
assert(ffi.sizeof("fnm_record") == 128)

local function word(a) return a[12] + a[13] * 256 + a[14] * 65536 + a[15] * 16777216 end

local function is_mapped(a)
  for i = 0, 9 do if a[i] ~= 0 then return false end end
  return a[10] == 255 and a[11] == 255
end

-- text is an address as people write it (RFC 5952).
local function text(a)
  if is_mapped(a) then return format("%d.%d.%d.%d", a[12], a[13], a[14], a[15]) end
  local groups, best, length = {}, -1, 1
  local run = 0
  for i = 0, 7 do
    groups[i] = a[2 * i] * 256 + a[2 * i + 1]
    run = groups[i] == 0 and run + 1 or 0
    if run > length then best, length = i - run + 1, run end
  end
  local out = ""
  local i = 0
  while i < 8 do
    if i == best then
      out = out .. "::"
      i = i + length
    else
      if out ~= "" and out:sub(-1) ~= ":" then out = out .. ":" end
      out = out .. format("%x", groups[i])
      i = i + 1
    end
  end
  return out
end

local agents = {}
local function agent(index)
  local name = agents[index]
  if not name then
    name = host.agent(index)
    if name ~= "" then agents[index] = name end
  end
  return name
end

local get = {
  src = function(r) return text(r.src_) end,
  dst = function(r) return text(r.dst_) end,
  next_hop = function(r) return text(r.next_hop_) end,
  src_word = function(r) if band(r.marks_, 1) ~= 0 then return 0 end return word(r.src_) end,
  dst_word = function(r) if band(r.marks_, 1) ~= 0 then return 0 end return word(r.dst_) end,
  next_hop_word = function(r) return is_mapped(r.next_hop_) and word(r.next_hop_) or 0 end,
  packets = function(r) return tonumber(r.packets_) end,
  bytes = function(r) return tonumber(r.bytes_) end,
  length = function(r) return r.packets_ == 0 and 0 or tonumber(r.bytes_ / r.packets_) end,
  time = function(r) return tonumber(r.time_) / 1e9 end,
  ipv6 = function(r) return band(r.marks_, 1) ~= 0 end,
  fragment = function(r) return band(r.marks_, 2) ~= 0 end,
  dropped = function(r) return band(r.marks_, 4) ~= 0 end,
  later_fragment = function(r) return band(r.marks_, 8) ~= 0 end,
  is_flow = function(r) return band(r.marks_, 16) ~= 0 end,
  exporter = function(r) if r.exporter_ == 0 then return "" end return agent(r.exporter_) end,
}

local function class(n)
  if type(n) ~= "number" or n < 0 or n > 63 or n % 1 ~= 0 then error("mark: " .. tostring(n) .. " is no class, there are 0 to 63", 3) end
  return lshift(1ULL, n)
end
local methods = {
  mark = function(r, n) r.class_ = bor(r.class_, class(n)) end,
  marked = function(r, n) return band(r.class_, class(n)) ~= 0 end,
}

ffi.metatype("fnm_record", {
  __index = function(r, name)
    local g = get[name]
    if g then return g(r) end
    return methods[name] or error("a record has no field " .. tostring(name), 2)
  end,
  __newindex = function(_, name) error("of a record only sampling can be set, not " .. tostring(name), 2) end,
})

-- Sets of prefixes are sorted ranges that C looks through.
local contains = ffi.cast("int (*)(const void *, uint32_t, const uint8_t *)", host.contains)
local is_record = ffi.typeof("fnm_record")
local istype = ffi.istype

local function record(r)
  if not istype(is_record, r) then error("a set of prefixes is asked about a record", 3) end
  return r
end

local function prefix_set(list, file)
  local p, n = host.prefixes(list, file)
  local c = ffi.cast("const void *", p)
  return {
    src = function(_, r) return contains(c, n, record(r).src_) ~= 0 end,
    dst = function(_, r) return contains(c, n, record(r).dst_) ~= 0 end,
    either = function(_, r) return contains(c, n, record(r).src_) ~= 0 or contains(c, n, r.dst_) ~= 0 end,
    has = function(_, a) return host.has(p, n, a) end,
  }
end

local state = ffi.cast("fnm_ctx *", ctx)

local hooks = common({ print = host.print, read = host.read, prefixes = prefix_set })

-- Nothing that reaches out of the script is left to it.
for _, name in ipairs { "io", "os", "debug", "package", "module", "dofile", "loadfile", "load", "loadstring", "getfenv", "setfenv", "newproxy", "jit", "gcinfo", "collectgarbage" } do
  _G[name] = nil
end
string.dump = nil

local judge
return function() judge = hooks() end, function(p, n, first)
  local records = ffi.cast("fnm_record *", p)
  local f = judge
  for i = first, n - 1 do
    state.at = i
    local r = records[i]
    if f(r) == false then r.verdict_ = 2 end
  end
end
