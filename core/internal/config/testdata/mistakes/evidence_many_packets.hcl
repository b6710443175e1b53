evidence {
  packets = 1000000
}
