threshold "flood" {
  pps = 20000
}
