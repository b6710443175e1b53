daemon {
  mode = "mon[31mitor"
}
