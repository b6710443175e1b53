# A complete FastNetMon configuration: it plays a capture file as if it were
# live traffic, watches the hosts of two networks, and calls a script for
# every attack. Try it as it stands:
#
#   fastnetmon check                            is it right?
#   fastnetmon run                              plays the file below; Ctrl-C stops it
#   fastnetmon replay examples/attack.pcap.gz   the same, as fast as the machine can
#
# Values: durations are "500ms", "30s", "1h30m" or "30d"; rates are numbers or
# "20k", "1G" (powers of 1000; bps is bits per second); sizes are "512MB"
# (10^6) or "2GiB" (2^30). Blocks name each other without quotes, as in
# network.customers. env("NAME") and file("path") read secrets, which are
# never shown. core/README.md lists every setting.

language = 1

daemon {
  mode         = "monitor" # sees and tells everything, acts on nothing; "enforce" acts
  state_dir    = "/var/lib/fastnetmon"
  runtime_dir  = "/run/fastnetmon" # for sockets; two daemons need two
  memory_limit = "2GiB"            # of the tables of hosts
}

locals {
  average = "5s"
}

# Our own addresses. They give traffic its direction: what goes to them is
# incoming, what comes from them outgoing. Long lists go into files, one prefix
# a line: files = ["networks_list"].
network "customers" {
  prefixes = ["10.10.10.0/24", "203.0.113.0/24", "2001:db8::/32"]
  internal = "ignore" # traffic between our own hosts; "count" counts it for both
}

# Traffic classes beside the built-in ones: total, tcp, udp, icmp, tcp_syn,
# fragmented, dropped, exempt, and those that only need to be named, such as
# dns_reflection. All conditions of a counter must hold.
counter "ntp_large" {
  protocol      = "udp"
  source_port   = [123]
  packet_length = ["200-65535"]
}

counter "tcp_reset" {
  tcp_flags = ["rst", "!ack"]
}

# Traffic that is expected to be heavy and counts in no other rate.
exemption "backup" {
  remote    = ["198.51.100.7"]
  direction = "outgoing"
}

# Limits for one host. Without direction a threshold holds for each direction
# apart; without counter it is about all traffic.
hostgroup "default" {
  networks = [network.customers]
  average  = local.average # rates are averages over this time
  quiet    = "30s"         # an attack has ended when it was calm for so long
  mode     = "enforce"     # where the daemon does; "monitor" here, or in a threshold, holds it back

  # An IPv6 host is one address; 64 or 56 counts whole prefixes of that length.
  v6_host_length = 128

  threshold "flood" {
    direction = "incoming"
    pps       = 20000
    bps       = "1G"
    fps       = 3500 # new flows per second
  }

  threshold "outgoing" {
    direction = "outgoing"
    pps       = 50000
  }

  threshold "syn" {
    direction = "incoming"
    counter   = counter.tcp_syn
    pps       = 2000
  }

  threshold "ntp" {
    direction = "incoming"
    counter   = counter.ntp_large
    pps       = 5000
  }

  threshold "reset" {
    direction = "incoming"
    counter   = counter.tcp_reset
    pps       = 10000
  }
}

# The longest prefix decides which group a host belongs to. A group inherits
# from its base; a threshold of the same name changes what it names only.
hostgroup "dns" {
  base     = hostgroup.default
  prefixes = ["203.0.113.53", "2001:db8::53"]

  threshold "flood" {
    pps     = 200000
    disable = ["fps"]
  }
}

# Where traffic comes from. The first label is the plugin, the second a name.
capture "pcap" "file" {
  files = ["examples/attack.pcap.gz"] # pcap or pcapng, gzip or not
  speed = 1                           # times the recorded speed
}

# What is done about an attack.
action "script" "notify" {
  role    = "notify"      # only tells; "mitigate" acts, and is called in mode "enforce" only
  command = ["/bin/echo"] # your own script; it gets address, direction, pps and what happened
  format  = "text"        # details on standard input; "json" gives one object
  timeout = "30s"

  # What the core itself needs to know about the plugin's process. Every plugin
  # block may have this; path, env, user and capabilities stand here as well.
  process {
    backoff       = "500ms" # before it is started again, doubling up to max_backoff
    max_backoff   = "60s"
    start_timeout = "10s" # for each step of its start
    timeout       = "35s" # of one call; more than the script's own
  }
}

# What follows what. A capture belongs to exactly one pipeline.
pipeline "main" {
  captures = [capture.pcap.file]
  actions  = [action.script.notify]
}
