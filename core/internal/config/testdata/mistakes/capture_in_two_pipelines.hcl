capture "pcap" "file" {
  files = ["traffic.pcap"]
}

pipeline "main" {
  captures = [capture.pcap.file]
}

pipeline "second" {
  captures = [capture.pcap.file]
}
