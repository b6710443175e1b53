history {
  keep     = "400d"
  max_size = "1MiB"
}
