-- Leaves out replies of one's own resolvers: they come in bursts, from a port
-- that attacks use, too.
local resolvers = prefixes{"198.51.100.53", "2001:db8:53::/64"}

function filter(r)
  return not (r.protocol == 17 and r.src_port == 53 and resolvers:src(r))
end
