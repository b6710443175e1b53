-- Counts one record of ten of the large content networks, for ten: rates stay
-- right on average, at less cost behind this filter.
local content = prefixes{"203.0.113.0/24", "2001:db8:c::/48"}
local n = 0

function filter(r)
  if not content:src(r) then return true end
  n = (n + 1) % 10
  if n ~= 0 then return false end
  r.sampling = math.max(r.sampling, 1) * 10
end
