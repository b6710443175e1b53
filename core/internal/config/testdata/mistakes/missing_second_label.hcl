capture "pcap" {
  files = ["traffic.pcap"]
}
