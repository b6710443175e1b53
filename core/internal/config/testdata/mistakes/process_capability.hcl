capture "pcap" "file" {
  files = ["traffic.pcap"]

  process {
    capabilities = ["CAP_NET_ROW"]
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
