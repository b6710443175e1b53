action "script" "notify" {
  role    = "notify"
  command = ["/usr/local/bin/notify.sh"]
}

network "customers" {
  prefixes = ["203.0.113.0/24", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.customers]

  threshold "flood" {
    pps = 1
    actions = [action.script.notfy]
  }
}

capture "pcap" "file" {
  files = ["traffic.pcap"]
}

pipeline "main" {
  captures = [capture.pcap.file]
  actions  = [action.script.notify]
}
