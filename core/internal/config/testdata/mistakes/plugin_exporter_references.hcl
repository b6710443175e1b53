exporter "fra_r1" {
  source = ["192.0.2.1"]
}

capture "flow" "routers" {
  exporters = ["exporter.fra_r1", exporter.fra_r1, exporter.fra_r1, capture.flow.routers, exporter.fra_r1.site]
}

pipeline "main" {
  captures = [capture.flow.routers]
}
