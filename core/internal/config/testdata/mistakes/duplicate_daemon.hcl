daemon {
  mode = "monitor"
}

daemon {
  state_dir = "/srv"
}
