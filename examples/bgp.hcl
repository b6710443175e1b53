# Attacks become BGP announcements: reflections and SYN floods flow-spec rules
# that drop no more than the attack, what is larger than the lines a blackhole.
# Guards keep back what is too much at once.
#
#   bin/fastnetmon run --config examples/bgp.hcl
#   bin/fastnetmon mitigations    # what is announced, and who has it
#   bin/fastnetmon ban 203.0.113.9 --for 2h --reason "asked by the customer" --action action.gobgp.edge.blackhole
#
# In mode "monitor" nothing is announced: events say what would have been.

daemon {
  mode = "monitor" # or "enforce"
}

network "customers" {
  prefixes = ["203.0.113.0/24", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.customers]

  threshold "flood" { # too much for the lines: the address goes
    direction = "incoming"
    bps       = "8G"
  }
  threshold "syn" {
    direction = "incoming"
    counter   = counter.tcp_syn
    pps       = 20000
    actions   = [action.gobgp.edge.filter]
  }
  threshold "ntp" {
    direction = "incoming"
    counter   = counter.ntp_reflection
    pps       = 5000
    actions   = [action.gobgp.edge.filter]
  }
  mitigation {
    hold = "10m" # a blackhole hides the attack: it is tried again after this, then twice as long
    max  = "24h"
  }
}

# Customers whose traffic goes through a scrubbing centre instead, with another
# next hop than the others'.
hostgroup "shops" {
  base     = hostgroup.default
  prefixes = ["203.0.113.128/26"]

  threshold "flood" {
    actions = [action.gobgp.edge.scrub]
  }
  mitigation {
    attributes = {
      next_hop    = ["192.0.2.78"]
      communities = ["65001:200"]
    }
  }
}

exporter "here" {
  source   = ["127.0.0.1"]
  sampling = 1
}

capture "sflow" "switches" {
  exporters = [exporter.here]
}

action "gobgp" "edge" {
  local_as  = 65001
  router_id = "192.0.2.10"

  neighbor "192.0.2.254" {
    peer_as = 65001
  }
  neighbor "2001:db8:ffff::254" {
    peer_as  = 65001
    families = ["ipv4-unicast", "ipv6-unicast"]
  }

  announce "blackhole" {
    next_hop    = "192.0.2.66"
    next_hop_v6 = "2001:db8:ffff::66"
    communities = ["65001:666", "blackhole"]
  }
  announce "scrub" {
    prefix      = "subnet"
    divert      = true
    next_hop    = "192.0.2.77"
    next_hop_v6 = "2001:db8:ffff::77"
    communities = ["65001:100"]
  }
  announce "filter" {
    then = "discard"
  }
}

guard {
  max_active         = 100
  max_share          = "2%"
  max_new_per_minute = 20
  protected          = ["203.0.113.1/32"]
}

pipeline "main" {
  captures = [capture.sflow.switches]
  actions  = [action.gobgp.edge.blackhole]
}
