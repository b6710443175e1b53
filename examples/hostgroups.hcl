# Groups of hosts with limits of their own, limits on single kinds of traffic,
# and a second script for one kind of attack only.

network "customers" {
  prefixes = ["203.0.113.0/24", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.customers]
  average  = "5s"

  threshold "flood" {
    direction = "incoming"
    pps       = 20000
    bps       = "1G"
  }

  threshold "syn" {
    direction = "incoming"
    counter   = counter.tcp_syn
    pps       = 10000
  }

  threshold "ntp" {
    direction = "incoming"
    counter   = counter.ntp_reflection # shipped: it needs no block
    pps       = 5000
    actions   = [action.script.tickets, action.script.notify]
  }
}

# Name servers take more packets; everything else is as in the default group.
hostgroup "dns" {
  base     = hostgroup.default
  prefixes = ["203.0.113.53/32", "2001:db8::53/128"]

  threshold "flood" {
    pps = 200000
  }
}

capture "pcap" "file" {
  files = ["traffic.pcap"]
  speed = 2
}

action "script" "notify" {
  role    = "notify"
  command = ["scripts/notify_about_attack.sh"]
}

# The event as JSON on standard input, for a program that files it.
action "script" "tickets" {
  role    = "notify"
  command = ["/usr/bin/tee", "-a", "/tmp/fastnetmon-tickets.json"]
  format  = "json"
}

pipeline "main" {
  captures = [capture.pcap.file]
  actions  = [action.script.notify]
}
