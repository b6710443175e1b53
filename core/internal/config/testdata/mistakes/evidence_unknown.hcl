evidence {
  packet = 100
}
