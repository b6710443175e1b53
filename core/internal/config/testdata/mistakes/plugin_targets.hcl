capture "pcap" "file" {
  files = ["traffic.pcap"]
}

action "script" "notify" {
}

action "gobgp" "edge" {
  announce "blackhole" {
  }
  announce "flowspec" {
  }
}

action "gobgp" "bare" {
}

pipeline "main" {
  captures = [capture.pcap.file]
  actions = [
    action.script.notify.now,
    action.gobgp.edge,
    action.gobgp.edge.flowspek,
    action.gobgp.bare,
  ]
}
