capture "pcap" "file" {
  files = ["traffic.pcap"]
}

pipeline "main" {
  captures = [capture.pcap]
}
