# Filters: what is not to be counted, and what is to be counted apart. They
# judge in this order; what the first drops the second does not bring back.

network "customers" {
  prefixes = ["203.0.113.0/24", "2001:db8::/32"]
}

# Sources that cannot be: with them traffic is spoofed or leaked.
filter "prefix" "bogons" {
  match    = "source"
  prefixes = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "fe80::/10"]
}

# Replies of our own resolvers, in the language of tcpdump.
filter "bpf" "replies" {
  expression = "not (udp and src port 53 and src net 198.51.100.0/24)"
}

# Backups and speed tests, by a script; more of them lie in filters/.
filter "lua" "no_backup" {
  script = "filters/no_backup.lua"
  process {
    on_failure = "bypass"
  }
}

# Game servers get a class, a counter and a limit of their own.
filter "lua" "games" {
  script = "filters/mark_games.lua"
}

counter "games" {
  class = [1]
}

hostgroup "default" {
  networks = [network.customers]

  threshold "flood" {
    direction = "incoming"
    pps       = 20000
    bps       = "1G"
  }
  threshold "games" {
    direction = "incoming"
    counter   = counter.games
    pps       = 5000
  }
}

capture "sflow" "switches" {
  listen = ["127.0.0.1:6343"]
}

pipeline "main" {
  captures = [capture.sflow.switches]
  filters  = [filter.prefix.bogons, filter.bpf.replies, filter.lua.no_backup, filter.lua.games]
}
