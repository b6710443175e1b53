exemption "vip" {
  local      = ["10.0.0.1"]
  port       = 80
  do_not_act = true
}
