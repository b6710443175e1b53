summary {
  attacks       = -1
  prefix_length = [24, 129]
  within        = "0s"
  updates       = "1m"
}

network "customers" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.customers]
  threshold "flood" {
    pps = 300000
  }
}
