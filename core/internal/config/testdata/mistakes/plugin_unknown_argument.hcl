capture "pcap" "file" {
  files = ["a.pcap"]
  spede = 2
}

pipeline "main" {
  captures = [capture.pcap.file]
}
