capture "pcap" "file" {
  files = [capture.pcap.file]
}

pipeline "main" {
  captures = [capture.pcap.file]
}
