exporter "fra_r1" {
  sources = ["192.0.2.1"]
}
