network "customers" {
  prefixes = ["203.0.113.0/24", "2001:db8::/32"]
}

hostgroup "a" {
  base     = hostgroup.b
  networks = [network.customers]
  threshold "flood" {
    pps = 1
  }
}

hostgroup "b" {
  base = hostgroup.c
}

hostgroup "c" {
  base = hostgroup.a
}
