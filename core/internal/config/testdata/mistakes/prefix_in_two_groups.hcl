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
  prefixes = ["203.0.113.53/32"]
}

hostgroup "web" {
  base     = hostgroup.default
  prefixes = ["203.0.113.53"]
}
