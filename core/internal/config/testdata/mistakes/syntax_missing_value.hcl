daemon {
  mode =
}
