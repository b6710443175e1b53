# Routers and switches tell of their traffic in NetFlow, IPFIX or sFlow. Two
# devices of your own, and this machine for a try:
#
#   bin/fastnetmon run --config examples/flows.hcl
#   bin/fastnetmon traffic --send ipfix --to 127.0.0.1:2055 --duration 1m --active 5s --inactive 2s \
#     --attack syn_flood,target=203.0.113.7,pps=60000,start=10s,for=20s
#   bin/fastnetmon exporters    # who sends, how much, how it samples
#   bin/fastnetmon doctor       # why is nothing, or not the right thing, seen?
#
# On the devices set the active timeout as low as they can: a long flow is seen
# when it is reported.

network "customers" {
  prefixes = ["203.0.113.0/24", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.customers]

  threshold "flood" {
    direction = "incoming"
    pps       = 20000
    bps       = "1G"
  }
}

# The devices. Anyone can forge such datagrams, so all that no block names are
# refused; mode "enforce" demands the list.
exporter "fra_r1" {
  source   = ["192.0.2.1"]
  site     = "fra"
  sampling = 1000      # where neither its records nor its options tell
  count    = "ingress" # it meters both directions: count a packet once
}

exporter "ams_s1" {
  source = ["192.0.2.2"]
  site   = "ams"
}

exporter "here" {
  source   = ["127.0.0.1"]
  sampling = 1
}

capture "netflow" "routers" { # NetFlow v5, v9 and IPFIX on port 2055
  exporters = [exporter.fra_r1, exporter.here]
}

capture "sflow" "switches" { # port 6343
  exporters = [exporter.ams_s1, exporter.here]
}

action "script" "notify" {
  role    = "notify"
  command = ["scripts/notify_about_attack.sh"]
}

pipeline "main" {
  captures = [capture.netflow.routers, capture.sflow.switches]
  actions  = [action.script.notify]
}
