network "customers" {
  prefixes = ["203.0.113.0/33"]
}
