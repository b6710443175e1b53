capture "pcap" "a" {
  files = ["traffic.pcap"]
}

capture "pcap" "b" {
  files = ["traffic.pcap"]

  process {
    standby_for = capture.pcap.aa
  }
}

pipeline "main" {
  captures = [capture.pcap.a, capture.pcap.b]
}
