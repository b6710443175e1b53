pipeline "main" {
  captures = []
}

pipeline "second" {
}
