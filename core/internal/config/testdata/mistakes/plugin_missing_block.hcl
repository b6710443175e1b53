capture "bgp" "file" {
  files = ["a.pcap"]
}

pipeline "main" {
  captures = [capture.bgp.file]
}
