exporter "fra_r1" {
  source     = []
  interfaces = []
}
