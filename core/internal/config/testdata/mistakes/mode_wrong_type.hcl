daemon {
  mode = true
}
