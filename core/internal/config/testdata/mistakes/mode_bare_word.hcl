daemon {
  mode = monitor
}
