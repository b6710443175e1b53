exporter "fra_r1" {
  source      = ["192.0.2.1"]
  deduplicate = "edge"
}

exporter "fra_r2" {
  source      = ["192.0.2.2"]
  deduplicate = "edge"
}

capture "flow" "edge" {
  exporters = [exporter.fra_r1]
}

capture "flow" "core" {
  exporters = [exporter.fra_r2]
}

pipeline "main" {
  captures = [capture.flow.edge, capture.flow.core]
}
