network "customers" {
  prefixes = ["${env("SECRET")}/24", "203.0.113.1/24"]
}

counter "c" {
  source_port = [env("SECRET")]
}
