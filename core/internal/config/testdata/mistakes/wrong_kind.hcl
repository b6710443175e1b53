capture "pcap" "file" {
  files = ["traffic.pcap"]
}

action "script" "notify" {
  role    = "notify"
  command = ["/usr/local/bin/notify.sh"]
}

pipeline "main" {
  captures = [action.script.notify]
}
