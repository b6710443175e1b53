guard {
  max_actve = 100
}
