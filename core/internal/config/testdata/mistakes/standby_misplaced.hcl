capture "pcap" "a" {
  files = ["traffic.pcap"]
}

filter "prefix" "f" {
  process {
    standby_for = capture.pcap.a
  }
}

pipeline "main" {
  captures = [capture.pcap.a]
}
