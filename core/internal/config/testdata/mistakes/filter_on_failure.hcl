filter "lua" "f" {
  process {
    on_failure = "pass"
  }
}

capture "pcap" "file" {
  files = ["traffic.pcap"]
}

pipeline "main" {
  captures = [capture.pcap.file]
  filters  = [filter.lua.f]
}
