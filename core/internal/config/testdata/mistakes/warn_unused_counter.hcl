counter "ntp" {
  source_port = 123
}
