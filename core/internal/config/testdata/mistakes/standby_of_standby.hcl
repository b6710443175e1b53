capture "pcap" "a" {
  files = ["traffic.pcap"]
}

capture "pcap" "b" {
  files = ["traffic.pcap"]

  process {
    standby_for = capture.pcap.a
  }
}

capture "pcap" "c" {
  files = ["traffic.pcap"]

  process {
    standby_for = capture.pcap.b
  }
}

pipeline "main" {
  captures = [capture.pcap.a, capture.pcap.b, capture.pcap.c]
}
