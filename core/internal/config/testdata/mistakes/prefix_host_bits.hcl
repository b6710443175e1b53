network "customers" {
  prefixes = ["203.0.113.7/24", "2001:db8::1/32"]
}
