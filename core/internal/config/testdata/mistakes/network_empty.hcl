network "customers" {
}
