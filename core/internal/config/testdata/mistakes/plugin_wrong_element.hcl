capture "pcap" "file" {
  files = ["a.pcap"]
  weights = {
    a = 1
    b = "two"
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
}
