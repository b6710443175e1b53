capture "pcap" "file" {
  files = "a.pcap"
  speed = "fast"
}

pipeline "main" {
  captures = [capture.pcap.file]
}
