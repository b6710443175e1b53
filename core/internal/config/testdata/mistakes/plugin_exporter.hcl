capture "pcap" "file" {
  files = [exporter.fra_r1]
}

pipeline "main" {
  captures = [capture.pcap.file]
}
