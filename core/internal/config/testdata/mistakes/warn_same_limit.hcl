network "n" {
  prefixes = ["192.0.2.0/24"]
}
hostgroup "default" {
  networks = [network.n]
  threshold "flood" {
    pps = 20000
    bps = "1G"
  }
  threshold "again" {
    direction = "incoming"
    pps       = 20000
    bps       = "2G"
  }
  threshold "other_way" {
    direction = "outgoing"
    counter   = counter.udp
    pps       = 20000
  }
  threshold "other_rules" {
    direction = "incoming"
    pps       = 20000
    burst     = []
  }
}
hostgroup "child" {
  base     = hostgroup.default
  prefixes = ["192.0.2.8/29"]
  threshold "other_way" {
    counter = counter.total
  }
}
