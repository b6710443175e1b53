daemon {
  mode = "enforce"
}

locals {
  limit = 100
}
