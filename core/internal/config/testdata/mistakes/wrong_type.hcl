network "customers" {
  prefixes = [203, "198.51.100.0/24"]
}

hostgroup "default" {
  networks = [network.customers]
  threshold "a" {
    pps = [1]
  }
}
