exporter "fra_r1" {
  source = ["192.0.2.1"]
  domain = [1, -1, "two"]
}
