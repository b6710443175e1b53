network "customers" {
  prefixes = ["203.0.113.0/24", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.customers]

  threshold "flood" {
    pps = 1
  }
  mitigation {
    hod = "10m"
  }
}
