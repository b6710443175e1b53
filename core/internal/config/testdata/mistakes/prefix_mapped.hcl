network "customers" {
  prefixes = ["::ffff:203.0.113.0/120", "::ffff:203.0.113.1"]
}
