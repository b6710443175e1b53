capture "pcap" "file" {
  files = ["traffic.pcap"]

  process {
    memory = "much"
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
