-- Counts what enters through one interface of each router, named by its
-- address, and nothing else of that router: where a packet passes several
-- routers that all tell of it, it counts once.
local uplink = { ["192.0.2.1"] = 33, ["2001:db8::1"] = 4 }

function filter(r)
  local only = uplink[r.exporter]
  return only == nil or r.in_if == only
end
