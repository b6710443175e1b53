-- What scripts see beside records, in either engine. The chunk is given the
-- engine's own part, host, and returns a function that judges a record.
local host = ...

local error, type, tostring, tonumber, pairs, setmetatable = error, type, tostring, tonumber, pairs, setmetatable
local floor = math.floor

-- json.decode takes what RFC 8259 describes, and bare numbers as keys, which
-- the lists of the original have.
local function decode(text)
  local at = 1
  local value
  local function fail(what)
    local _, line = text:sub(1, at):gsub("\n", "\n")
    error("json: line " .. (line + 1) .. ": " .. what, 0)
  end
  local function skip() at = text:find("[^ \t\r\n]", at) or #text + 1 end
  local escapes = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }
  local function utf8(n)
    if n < 0x80 then return string.char(n) end
    if n < 0x800 then return string.char(0xc0 + floor(n / 64), 0x80 + n % 64) end
    return string.char(0xe0 + floor(n / 4096), 0x80 + floor(n / 64) % 64, 0x80 + n % 64)
  end
  local function str()
    local out = {}
    at = at + 1
    while true do
      local stop = text:find('["\\]', at)
      if not stop then fail("a string has no end") end
      out[#out + 1] = text:sub(at, stop - 1)
      at = stop + 1
      if text:sub(stop, stop) == '"' then return table.concat(out) end
      local c = text:sub(at, at)
      at = at + 1
      if c == "u" then
        local n = tonumber(text:sub(at, at + 3), 16)
        if not n then fail("bad escape") end
        out[#out + 1] = utf8(n)
        at = at + 4
      else
        out[#out + 1] = escapes[c] or c
      end
    end
  end
  local function number()
    local s = text:match("^-?%d+%.?%d*[eE]?[+-]?%d*", at)
    local mantissa, exponent = (s or ""):match("^(.-)[eE]%+?(.+)$") -- gopher-lua reads none by itself
    local n = mantissa and tonumber(mantissa) and tonumber(exponent) and tonumber(mantissa) * 10 ^ tonumber(exponent) or s and tonumber(s)
    if not n then fail("a value was expected") end
    at = at + #s
    return n
  end
  local function list(depth)
    local out = {}
    at = at + 1
    skip()
    if text:sub(at, at) == "]" then at = at + 1 return out end
    while true do
      out[#out + 1] = value(depth)
      skip()
      local c = text:sub(at, at)
      at = at + 1
      if c == "]" then return out end
      if c ~= "," then fail("a comma or ] was expected") end
    end
  end
  local function object(depth)
    local out = {}
    at = at + 1
    skip()
    if text:sub(at, at) == "}" then at = at + 1 return out end
    while true do
      skip()
      local key
      if text:sub(at, at) == '"' then key = str() else key = number() end
      skip()
      if text:sub(at, at) ~= ":" then fail("a colon was expected") end
      at = at + 1
      out[key] = value(depth)
      skip()
      local c = text:sub(at, at)
      at = at + 1
      if c == "}" then return out end
      if c ~= "," then fail("a comma or } was expected") end
    end
  end
  local words = { ["true"] = true, ["false"] = false }
  function value(depth)
    if depth > 100 then fail("nested too deep") end
    skip()
    local c = text:sub(at, at)
    if c == "{" then return object(depth + 1) end
    if c == "[" then return list(depth + 1) end
    if c == '"' then return str() end
    local word = text:match("^%a+", at)
    if not word then return number() end
    at = at + #word
    if word == "null" then return nil end
    if words[word] == nil then fail("unknown word " .. word) end
    return words[word]
  end
  local out = value(0)
  skip()
  if at <= #text then fail("something stands behind the value") end
  return out
end

local json = { decode = decode, decode_file = function(path) return decode(host.read(path)) end }

-- ffi, as far as the original's hooks need it: cast gives a view of what the
-- hook was given.
local ffi = {
  cdef = function() end,
  typeof = function(name) return name end,
  cast = function(_, v) return v end,
  string = function(v) return tostring(v) end,
}

local modules = { ffi = ffi, bit = bit, json = json }

function require(name)
  return modules[name] or error("require knows ffi, bit and json, not " .. tostring(name), 2)
end

function print(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
  host.print(table.concat(parts, "\t"))
end

-- ports{53, "6000-6008"} is a set of ports.
local set = {}
set.__index = set
function set:has(port) return self.ports[port] == true end
function set:src(r) return self.ports[r.src_port] == true end
function set:dst(r) return self.ports[r.dst_port] == true end
function set:either(r) return self.ports[r.src_port] == true or self.ports[r.dst_port] == true end

local function number(v)
  local n = tonumber(v)
  if not n or n < 0 or n > 65535 or n ~= floor(n) then error("ports: " .. tostring(v) .. " is no port", 3) end
  return n
end

function ports(list)
  local out = {}
  if type(list) ~= "table" then list = { list } end
  for _, v in pairs(list) do
    local from, to = tostring(v):match("^(%d+)%-(%d+)$")
    for port = number(from or v), number(to or v) do out[port] = true end
  end
  return setmetatable({ ports = out }, set)
end

-- prefixes{"198.51.100.0/24", file = "backup.txt"} is a set of prefixes.
function prefixes(list)
  local lines = {}
  if type(list) ~= "table" then list = { list } end
  for _, v in ipairs(list) do lines[#lines + 1] = tostring(v) end
  return host.prefixes(table.concat(lines, "\n"), list.file)
end

-- What the original's hooks are given, read from the record at hand.
local current
local function raw(n) return floor(n / math.max(current.sampling, 1)) end
local function address(name)
  return { s_addr = current[name], addr = current[name] }
end
local function either(word)
  return { type = current.ipv6 and 2 or 1, address = { ip_v4 = address(word) } }
end

local netflow = {
  src_ip = function() return current.src_word end,
  dest_ip = function() return current.dst_word end,
  nexthop_ip = function() return current.next_hop_word end,
  if_index_in = function() return current.in_if % 65536 end,
  if_index_out = function() return current.out_if % 65536 end,
  flow_packets = function() return raw(current.packets) end,
  flow_octets = function() return raw(current.bytes) end,
  flow_start = function() return (floor(current.time * 1000) - current.duration_ms) % 4294967296 end,
  flow_finish = function() return floor(current.time * 1000) % 4294967296 end,
  src_port = function() return current.src_port end,
  dest_port = function() return current.dst_port end,
  pad1 = function() return 0 end,
  tcp_flags = function() return current.tcp_flags end,
  protocol = function() return current.protocol end,
  tos = function() return current.tos end,
  src_as = function() return current.src_as % 65536 end,
  dest_as = function() return current.dst_as % 65536 end,
  src_mask = function() return 0 end,
  dst_mask = function() return 0 end,
  pad2 = function() return 0 end,
}

local sflow = {
  inputPort = function() return current.in_if end,
  outputPort = function() return current.out_if end,
  meanSkipCount = function() return math.max(current.sampling, 1) end,
  sampledPacketSize = function() return current.length end,
  in_vlan = function() return current.vlan end,
  ipsrc = function() return either("src_word") end,
  ipdst = function() return either("dst_word") end,
  dcd_srcIP = function() return address("src_word") end,
  dcd_dstIP = function() return address("dst_word") end,
  dcd_ipProtocol = function() return current.protocol end,
  dcd_ipTos = function() return current.tos end,
  dcd_ipTTL = function() return current.ttl end,
  dcd_sport = function() return current.src_port end,
  dcd_dport = function() return current.dst_port end,
  dcd_tcpFlags = function() return current.tcp_flags end,
}

local function view(fields, hook)
  return setmetatable({}, {
    __index = function(_, name)
      local get = fields[name]
      if not get then error(hook .. ": there is no field " .. tostring(name), 2) end
      return get()
    end,
    __newindex = function(_, name) error(hook .. ": what it is given cannot be changed: " .. tostring(name), 2) end,
    __metatable = false,
  })
end

local flow, sample = view(netflow, "process_netflow"), view(sflow, "process_sflow")

-- hooks makes the function that judges one record: it returns false to drop
-- it. The hooks of the original drop whatever they do not return true for.
return function()
  local filter, on_flow, on_sample = filter, process_netflow, process_sflow
  if type(filter) ~= "function" and type(on_flow) ~= "function" and type(on_sample) ~= "function" then
    error("the script has none of the functions filter, process_netflow and process_sflow", 0)
  end
  if not on_flow and not on_sample then return filter end
  return function(r)
    if filter and filter(r) == false then return false end
    if r.is_flow then
      if on_flow then
        current = r
        if not on_flow(r.exporter, flow) then return false end
      end
    elseif on_sample and r.exporter ~= "" then
      current = r
      if not on_sample(r.exporter, sample) then return false end
    end
  end
end
