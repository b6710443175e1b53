capture "pcap" "a" {
  files = ["traffic.pcap"]

  process {
    standby_for = capture.pcap.a
  }
}

pipeline "main" {
  captures = [capture.pcap.a]
}
