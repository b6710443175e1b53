counter "tcp_syn" {
  protocol = "tcp"
}
