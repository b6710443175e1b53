action "gobgp" "edge" {
  process {
    on_stop = "withdrawn"
  }
}
