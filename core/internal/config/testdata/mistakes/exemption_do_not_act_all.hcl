exemption "vip" {
  remote     = ["192.0.2.1"]
  do_not_act = true
}
exemption "empty" {
  do_not_act = true
}
