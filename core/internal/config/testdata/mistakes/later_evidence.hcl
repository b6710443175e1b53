evidence {
  packets = 100
}
