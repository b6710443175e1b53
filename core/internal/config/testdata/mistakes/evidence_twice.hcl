evidence {
  keep = "30d"
}

evidence {
  directory = ""
}
