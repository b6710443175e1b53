capture "pcap" "file" {
  files = ["traffic.pcap"]
}

pipeline "main" {
  captures = [capture.pcap.file]
  filters  = [filter.lua.backup]
}
