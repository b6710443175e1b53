daemon {
  colour = "blue"
}
