guard {
  max_share = 2
}
