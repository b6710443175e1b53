exemption "speedtest" {
  remote = ["198.51.100.7/32"]
  until  = "30.6.2027"
}
