daemon {
  state_dir = env("FASTNETMON_ABSENT")
}
