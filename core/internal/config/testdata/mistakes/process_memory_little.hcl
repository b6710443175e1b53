capture "pcap" "file" {
  files = ["traffic.pcap"]

  process {
    memory = "20MiB"
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
