# The smallest useful pipeline: plays a capture file as if its traffic came in
# now, and calls a script for every attack on a host of the office.
#
#   bin/fastnetmon traffic --out examples/traffic.pcap --network 203.0.113.0/24 \
#     --duration 20s --attack syn_flood,target=203.0.113.7,pps=60000,start=5s,for=10s
#   bin/fastnetmon run --config examples/first.hcl
#
# Paths start at this file's folder.

network "office" {
  prefixes = ["203.0.113.0/24", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.office]

  threshold "flood" {
    direction = "incoming"
    pps       = 20000
    bps       = "1G"
  }
}

capture "pcap" "file" {
  files = ["traffic.pcap"]
}

action "script" "notify" {
  role    = "notify"
  command = ["scripts/notify_about_attack.sh"]
}

pipeline "main" {
  captures = [capture.pcap.file]
  actions  = [action.script.notify]
}
