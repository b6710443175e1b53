exemption "speedtest" {
  remote = ["198.51.100.7/32"]
  until  = "2020-06-30"
}
