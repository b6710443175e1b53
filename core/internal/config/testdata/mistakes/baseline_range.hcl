daemon {
  baseline = "10m"
}
