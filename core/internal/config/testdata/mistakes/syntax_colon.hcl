daemon {
  mode: "monitor"
}
