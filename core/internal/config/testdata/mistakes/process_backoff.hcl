capture "pcap" "file" {
  files = ["traffic.pcap"]

  process {
    backoff     = "2s"
    max_backoff = "1s"
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
