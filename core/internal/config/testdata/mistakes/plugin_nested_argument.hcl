capture "pcap" "file" {
  files = ["a.pcap"]
  neighbor "192.0.2.254" {
    peer_sa = 1
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
