network "customers" "fra" {
  prefixes = ["203.0.113.0/24"]
}
