capture "pcap" "a" {
  files = ["traffic.pcap"]
}

capture "pcap" "b" {
  files = ["traffic.pcap"]

  process {
    standby_for = capture.pcap.a
  }
}

pipeline "main" {
  captures = [capture.pcap.b]
}
