capture "pcap" "file" {
  files = ["traffic.pcap"]
}

capture "pcap" "other" {
  files = ["traffic.pcap"]

  process {
    standby_for = capture.pcap.file
  }
}

pipeline "main" {
  captures = [capture.pcap.file, capture.pcap.other]
}
