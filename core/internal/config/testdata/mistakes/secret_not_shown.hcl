daemon {
  mode = env("SECRET")
}

network "customers" {
  prefixes = [env("SECRET")]
}

locals {
  path = file("lists/${env("SECRET")}")
}
