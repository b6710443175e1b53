action "script" "notify" {
  role    = "notify"
  command = ["/usr/local/bin/notify.sh"]
}

