network "a" {
  prefixes = ["203.0.113.0/24"]
}

network "b" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.a, network.b]
  threshold "flood" {
    pps = 1
  }
}
