network "customers" {
  prefixes = ["203.0.113.0/24", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.customers]

  threshold "flood" {
    pps = 20000
  }
}

hostgroup "dns" {
  base     = hostgroup.default
  prefixes = ["203.0.113.53"]
  threshold "flood" {
    pps     = 100
    disable = ["pps"]
  }
}
