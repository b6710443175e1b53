exporter "fra_r1" {
  source      = ["192.0.2.1"]
  deduplicate = "edge"
}

capture "flow" "routers" {
  exporters = [exporter.fra_r1]
}

pipeline "main" {
  captures = [capture.flow.routers]
}
