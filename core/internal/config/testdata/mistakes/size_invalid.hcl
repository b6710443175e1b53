daemon {
  memory_limit = "2 gigs"
}
