capture "pcap" "file" {
  files = [
    "a.pcap",
    "complain.pcap",
  ]
  neighbor "192.0.2.254" {
    peer_as = 666
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
