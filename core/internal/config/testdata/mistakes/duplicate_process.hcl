capture "pcap" "file" {
  process {
    user = "a"
  }
  process {
    user = "b"
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
