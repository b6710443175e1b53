daemon {
  mode = "enforce"
}

locals {
  window = "10s"
}

network "home" {
  prefixes = ["10.0.0.0/8", "2001:db8::/32"]
}

hostgroup "root" {
  networks = [network.home]
  average  = local.window
  actions  = [action.script.notify]

  threshold "flood" {
    direction = "incoming"
    pps       = "20k"
    bps       = "1.5G"
    fps       = 100
  }
  threshold "ntp" {
    counter = counter.ntp_reflection
    pps     = 500
  }
  threshold "carpet" {
    scope         = "prefix"
    prefix_length = [24, 48]
    pps           = 300000
  }
  threshold "gone" {
    counter = counter.xmas
    pps     = 100
  }
}

hostgroup "middle" {
  base = hostgroup.root
  mode = "monitor"
  burst = ["10x2", "3x4.5"]

  threshold "flood" {
    bps = "2G"
    burst = []
  }
}

hostgroup "leaf" {
  base           = hostgroup.middle
  prefixes       = ["10.1.0.0/16", "2001:db8:1::/64"]
  v6_host_length = 64
  quiet          = "1m30s"

  threshold "flood" {
    pps     = 1234567
    disable = ["fps"]
  }
  threshold "gone" {
    disable = ["pps"]
  }
  threshold "own" {
    direction = "outgoing"
    bps       = "10M"
    mode      = "monitor"
    actions   = []
  }
}

capture "pcap" "file" {}

action "script" "notify" {}

pipeline "main" {
  captures = [capture.pcap.file]
  actions  = [action.script.notify]
}

hostgroup "community" {
  base      = hostgroup.root
  prefixes  = ["10.2.0.0/16"]
  detection = "fastnetmon"
  threshold "gone" {
    disable = ["pps"]
  }
  threshold "ntp" {
    disable = ["pps"]
  }
  threshold "tcp" {
    counter = counter.tcp
    pps     = 100000
    bps     = "1G"
  }
  threshold "udp" {
    direction = "incoming"
    counter   = counter.udp
    pps       = 100000
  }
}

hostgroup "community_child" {
  base     = hostgroup.community
  prefixes = ["10.2.3.0/24"]
  average  = "15s"
}

hostgroup "community_carpet" {
  base     = hostgroup.community
  prefixes = ["10.2.4.0/24"]
  burst    = ["3x5"]
  threshold "carpet" {
    scope         = "prefix"
    prefix_length = [28, 64]
    counter       = counter.tcp_syn
    pps           = 300000
    burst         = ["2x8"]
  }
}
