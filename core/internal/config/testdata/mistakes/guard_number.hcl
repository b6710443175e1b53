guard {
  max_active         = -1
  max_new_per_minute = "20"
}
