daemon {
  mode = "enfroce"
}
