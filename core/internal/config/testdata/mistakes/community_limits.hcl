network "n" {
  prefixes = ["10.0.0.0/8"]
}
hostgroup "base" {
  networks = [network.n]
  burst    = ["3x2"]
  threshold "flood" {
    pps = 20000
    bps = "1G"
  }
  threshold "ntp" {
    counter = counter.ntp_reflection
    pps     = 5000
  }
}
hostgroup "old" {
  base      = hostgroup.base
  prefixes  = ["10.1.0.0/16"]
  detection = "fastnetmon"
  threshold "syn" {
    counter = counter.tcp_syn
    pps     = 1000
  }
  threshold "flood" {
    bps = "1500k"
  }
  threshold "udp" {
    counter = counter.udp
    bps     = 999
  }
}
