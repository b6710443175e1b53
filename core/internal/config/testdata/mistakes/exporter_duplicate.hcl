exporter "fra_r1" {
  source = ["192.0.2.1"]
}

exporter "fra_r1" {
  source = ["192.0.2.2"]
}
