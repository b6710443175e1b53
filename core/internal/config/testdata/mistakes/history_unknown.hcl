history {
  keeps = "400d"
}
