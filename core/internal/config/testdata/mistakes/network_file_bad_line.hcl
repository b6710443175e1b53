network "customers" {
  files = ["lists/bad"]
}

hostgroup "default" {
  networks = [network.customers]

  threshold "flood" {
    pps = 20000
  }
}

