daemon "main" {
}
