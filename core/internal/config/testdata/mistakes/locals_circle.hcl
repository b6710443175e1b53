locals {
  a = local.b
  b = "${local.c}s"
  c = local.a
}
