daemon {
  state_dir = evn("STATE")
}
