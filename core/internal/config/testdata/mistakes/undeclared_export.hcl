capture "pcap" "file" {
  files = ["traffic.pcap"]
}

pipeline "main" {
  captures = [capture.pcap.file]
  exports  = [export.influxdb.metrics]
}
