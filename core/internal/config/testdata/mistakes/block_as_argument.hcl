daemon = {
  mode = "monitor"
}
