daemon {
  memory_limit = 0
}
