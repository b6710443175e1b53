capture "pcap" "file" {
  files = ["traffic.pcap"]
}

capture "pcap" "other" {
  files = ["traffic.pcap"]
}

pipeline "main" {
  captures = [capture.pcap.file]
}
