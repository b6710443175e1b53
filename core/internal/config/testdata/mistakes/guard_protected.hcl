guard {
  protected = ["203.0.113.1/24"]
}
