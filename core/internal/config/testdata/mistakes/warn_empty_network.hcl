network "customers" {
  files = ["lists/empty"]
}
