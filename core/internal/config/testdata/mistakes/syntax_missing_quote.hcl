daemon {
  mode = "monitor
}
