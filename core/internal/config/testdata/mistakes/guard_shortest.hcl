guard {
  shortest_prefix = 32
}
