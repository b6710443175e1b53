export "prometheus" "metrics" {
  process {
    hosts = -1
  }
}
