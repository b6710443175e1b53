exporter "fra_r1" {
  site = "fra"
}
