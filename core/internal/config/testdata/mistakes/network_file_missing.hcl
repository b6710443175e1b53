network "customers" {
  files = ["lists/absent"]
}
