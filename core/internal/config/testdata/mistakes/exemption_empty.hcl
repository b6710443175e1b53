exemption "all" {
  until = "2027-06-30"
}
