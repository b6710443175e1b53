network "customers" {
  prefixes = ["203.0.113.0/24"]
  internal = "counted"
}

hostgroup "default" {
  networks = [network.customers]

  threshold "flood" {
    pps = 20000
  }
}

