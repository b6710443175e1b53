capture "pcap" "file" {
  files = ["traffic.pcap"]

  process "x" {
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
