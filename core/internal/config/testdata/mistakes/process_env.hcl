capture "pcap" "file" {
  files = ["traffic.pcap"]

  process {
    env = { "A B" = "x", C = 5 }
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
