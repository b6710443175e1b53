network "n" {
  prefixes = ["10.0.0.0/8"]
}
hostgroup "base" {
  networks  = [network.n]
  detection = "fastnetmom"
  threshold "flood" {
    pps = 20000
  }
}
