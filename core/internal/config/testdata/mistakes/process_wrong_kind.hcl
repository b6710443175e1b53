capture "pcap" "file" {
  files = ["traffic.pcap"]

  process {
    on_failure = "bypass"
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
