capture "pcap" "file" {
  files = ["a.pcap"]
  speed = env("SECRET")
}

pipeline "main" {
  captures = [capture.pcap.file]
}
