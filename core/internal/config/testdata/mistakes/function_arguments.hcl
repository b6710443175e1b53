daemon {
  state_dir = env("STATE", "x")
}
