language = 1

locals {
  window  = "${local.seconds}s"
  seconds = 10
  nets    = ["203.0.113.0/24", "2001:db8::/32"]
}

summary {
  attacks       = 7
  within        = "90s"
  prefix_length = [22, 40]
  update        = "10m"
}

history {
  keep     = "90d"
  max_size = "100MiB"
}

daemon {
  mode         = "enforce"
  state_dir    = "/srv/state"
  runtime_dir  = "/srv/run"
  memory_limit = "2GiB"
}

network "customers" {
  prefixes = local.nets
  files    = ["lists/more"]
  internal = "count"
}

network "servers" {
  prefixes = ["203.0.113.128/25"]
}

counter "ntp_answers" {
  protocol      = "udp"
  source_port   = [123, "1024-2047"]
  packet_length = ["400-1500"]
  fragment      = false
  forwarding    = "dropped"
  class         = [0, 63]
}

counter "handshake" {
  protocol         = ["tcp", 132]
  destination_port = 80
  tcp_flags        = ["syn", "ack", "!rst"]
}

exemption "speedtest" {
  remote    = ["198.51.100.7"]
  local     = ["203.0.113.0/24"]
  protocol  = "tcp"
  port      = 8080
  direction = "incoming"
  limit_bps = "2G"
  until     = "2027-06-30"
}

hostgroup "dns" { # before its base: order does not matter
  base           = hostgroup.default
  prefixes       = ["203.0.113.53/32", "2001:db8:0:1::/64"]
  v6_host_length = 64
  mode           = "monitor"

  threshold "own" {
    fps = 100
  }
  threshold "flood" {
    pps     = 200000
    disable = ["bps"]
  }
  threshold "ntp" {
    disable = ["pps"]
  }
}

hostgroup "default" {
  networks = [network.customers, network.servers]
  average  = local.window
  quiet    = "1m"
  mode     = "enforce"
  actions  = [action.script.notify]

  threshold "flood" {
    direction = "incoming"
    pps       = "20k"
    bps       = "1G"
    mode      = "monitor"
  }
  threshold "ntp" {
    counter = counter.ntp_answers
    scope   = "host"
    pps     = 5000
    actions = [action.gobgp.edge.flowspec]
  }
  threshold "handshakes" {
    counter = counter.handshake
    pps     = 1.5
    actions = []
  }
}

capture "pcap" "file" {
  files = ["a.pcap"]

  process {
    path          = "/opt/pcap"
    env           = { TOKEN = env("SECRET"), PLAIN = "x" }
    user          = "fnm-capture"
    capabilities  = ["CAP_NET_RAW"]
    memory        = "512MiB"
    backoff       = "1s"
    max_backoff   = "2m"
    start_timeout = "5s"
    timeout       = "500ms"
  }
}

filter "lua" "second" {
  process {
    on_failure = "stop"
  }
}

filter "lua" "first" {}

action "script" "notify" {
  role = "notify"
  process {
    mode      = "monitor"
    summaries = false
  }
}

action "gobgp" "edge" {
  announce "flowspec" {}
}

export "influxdb" "metrics" {
  process {
    period = "1s"
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
  filters  = [filter.lua.first, filter.lua.second]
  actions  = [action.script.notify, action.gobgp.edge.flowspec]
  exports  = [export.influxdb.metrics]
}
