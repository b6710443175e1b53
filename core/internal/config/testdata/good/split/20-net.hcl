network "n" {
  prefixes = ["192.0.2.0/24"]
}

hostgroup "g" {
  networks = [network.n]
  threshold "t" {
    pps = local.limit
  }
}
