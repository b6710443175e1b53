capture "pcap" "file" {
  speed = 2
}

pipeline "main" {
  captures = [capture.pcap.file]
}
