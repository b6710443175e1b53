daemon {
  mode = "enforce"
}

exporter "everybody" {
  source = ["192.0.2.0/24", "::/0"]
}

exporter "by_domain" {
  domain = [5]
}

capture "flow" "routers" {
  exporters = [exporter.everybody, exporter.by_domain]
}

network "ours" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.ours]
  threshold "flood" {
    pps = 20000
  }
}

action "script" "notify" {
}

pipeline "main" {
  captures = [capture.flow.routers]
  actions  = [action.script.notify]
}
