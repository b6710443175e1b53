capture "pcap" "file" {
  files = ["traffic.pcap"]

  process {
    capabilites = ["CAP_NET_RAW"]
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
