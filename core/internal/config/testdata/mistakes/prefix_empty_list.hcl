network "customers" {
  prefixes = []
}
