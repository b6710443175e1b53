network "n" {
  prefixes = ["10.0.0.0/8"]
}
counter "ntp_reflection" { # counts the same: nothing to say
  protocol    = "udp"
  source_port = 123
}
counter "dns_reflection" {
  protocol    = "udp"
  source_port = [53, 5353]
}
counter "syn" {
  tcp_flags = ["syn"]
}
hostgroup "g" {
  networks = [network.n]
  threshold "ntp" {
    counter = counter.ntp_reflection
    pps     = 1
  }
  threshold "dns" {
    counter = counter.dns_reflection
    pps     = 1
  }
  threshold "syn" {
    counter = counter.syn
    pps     = 1
  }
}
