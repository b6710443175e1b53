capture "pcap" "file" {
  files   = ["traffic.pcap"]
  process = "pcap"
}

pipeline "main" {
  captures = [capture.pcap.file]
}
