guard {
  max_active = 100
}
