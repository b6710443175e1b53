capture "pcap" "1st" {
  files = ["traffic.pcap"]
}
