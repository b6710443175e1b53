capture "pcap" "file" {
  files = ["a.pcap"]
  neighbor {
    peer_as = 1
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
