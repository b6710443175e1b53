capture "pcap" "file" {
  files = ["a.pcap"]
  tls {
  }
  tls {
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
