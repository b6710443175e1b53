capture "pcap" "file" {
  files = ["a.pcap"]
  nieghbor "a" {
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
