daemon {
  mode = "monitor"
  mode = "enforce"
}
