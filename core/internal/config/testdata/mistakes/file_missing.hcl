daemon {
  state_dir = file("secrets/absent")
}
