daemon {
  state_dir = file("lists")
}
