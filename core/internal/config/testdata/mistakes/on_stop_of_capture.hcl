capture "sflow" "edge" {
  process {
    on_stop = "keep"
  }
}
