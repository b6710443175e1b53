capture "flow" "routers" {
  exporters = []
}

pipeline "main" {
  captures = [capture.flow.routers]
}
