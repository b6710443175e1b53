# A pipeline of example plugins only, one of each kind (see plugins/): made-up
# traffic in, DNS dropped, a greeting for the attack, rates into a file.

daemon {
  state_dir   = "/tmp/fastnetmon-hello/state"
  runtime_dir = "/tmp/fastnetmon-hello/run"
}

network "home" {
  prefixes = ["203.0.113.0/24"]
}

hostgroup "default" {
  networks = [network.home]

  threshold "flood" {
    direction = "incoming"
    pps       = 5000
  }
}

capture "hello" "made_up" {
  target = "203.0.113.7"
  pps    = 20000
}

filter "hello" "no_dns" {
  port = 53
}

action "hello" "greet" {
  greeting = "ahoy"
}

export "hello" "lines" {
  file = "/tmp/fastnetmon-hello.json"
}

pipeline "main" {
  captures = [capture.hello.made_up]
  filters  = [filter.hello.no_dns]
  actions  = [action.hello.greet]
  exports  = [export.hello.lines]
}
