network "n" {
  prefixes = ["10.0.0.0/8"]
}
hostgroup "base" {
  networks  = [network.n]
  detection = "fastnetmon"
  threshold "flood" {
    pps = 20000
  }
}
hostgroup "web" {
  base     = hostgroup.base
  prefixes = ["10.1.0.0/16"]
  burst    = ["7x1.5"]
  threshold "flood" {
    pps   = 50000
    burst = []
  }
}
