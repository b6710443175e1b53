network "customers" {
  prefixes {
    a = 1
  }
}
