exporter "fra_r1" {
  source     = ["192.0.2.1"]
  interfaces = ["ae0", 12, "!20-10", "!", true]
}
