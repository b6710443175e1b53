daemon {
  state_dir = ""
}
