network "customers" {
  prefixes = ["203.0.113.0/24"]

hostgroup "default" {
  networks = [network.customers]
}
