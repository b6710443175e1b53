daemon {
  mode = "enforce"
}

capture "flow" "routers" {
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
