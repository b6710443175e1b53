hostgroup "default" {
  networks = [network.customers]
}
