# Attacks in chat, on call and in Alertmanager: each action posts them in the
# form that its service wants. Put your own addresses and keys in; env("NAME")
# takes one from the environment and shows it nowhere.
#
#   bin/fastnetmon check examples/webhook.hcl

network "office" {
  prefixes = ["203.0.113.0/24", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.office]

  threshold "flood" {
    direction = "incoming"
    pps       = 20000
  }
}

capture "pcap" "file" {
  files = ["traffic.pcap"]
}

# The event as JSON, signed.
action "webhook" "own" {
  url    = "https://hooks.example.net/fastnetmon"
  secret = "change me"
}

action "webhook" "slack" {
  url       = "https://hooks.slack.com/services/T000/B000/XXXX"
  body_file = "webhook/slack.json.tmpl"
  events    = ["attack.started", "attack.ended"]
}

action "webhook" "teams" {
  url       = "https://example.webhook.office.com/workflows/xxxx"
  body_file = "webhook/teams.json.tmpl"
  events    = ["attack.started", "attack.ended"]
}

action "webhook" "telegram" {
  url       = "https://api.telegram.org/bot000000:XXXX/sendMessage"
  body_file = "webhook/telegram.json.tmpl"
  variables = { chat_id = "-1000000000" }
}

action "webhook" "pagerduty" {
  url       = "https://events.pagerduty.com/v2/enqueue"
  body_file = "webhook/pagerduty.json.tmpl"
  variables = { routing_key = "R000000000000000000000000000000X" }
}

# Alertmanager groups by itself: it wants each attack, not summaries.
action "webhook" "alertmanager" {
  url       = "http://127.0.0.1:9093/api/v2/alerts"
  body_file = "webhook/alertmanager.json.tmpl"
  process {
    summaries = false
  }
}

pipeline "main" {
  captures = [capture.pcap.file]
  actions = [
    action.webhook.own, action.webhook.slack, action.webhook.teams, action.webhook.telegram,
    action.webhook.pagerduty, action.webhook.alertmanager,
  ]
}
