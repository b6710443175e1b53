# What "fastnetmon demo" runs: made-up traffic from a file, one hostgroup, one script.

daemon {
  runtime_dir = "@DIR@/run"
  state_dir   = "@DIR@/state"
}

network "customers" {
  prefixes = ["203.0.113.0/24", "2001:db8::/64"]
}

hostgroup "default" {
  networks = [network.customers]
  average  = "5s"
  quiet    = "3s"

  threshold "flood" {
    direction = "incoming"
    pps       = 5000
    bps       = "500M"
  }

  threshold "syn" {
    direction = "incoming"
    counter   = counter.tcp_syn
    pps       = 3000
  }
}

capture "pcap" "traffic" {
  files = ["@DIR@/traffic.pcap"]
}

action "script" "notify" {
  role    = "notify"
  command = ["@DIR@/notify.sh", "@DIR@/calls"]
}

pipeline "demo" {
  captures = [capture.pcap.traffic]
  actions  = [action.script.notify]
}
