network "customers" {
  prefixes = ["203.0.113.0/24", "2001:db8::/32"]
}

hostgroup "default" {
  networks = [network.customers]

  threshold "carpet0" {
    scope         = "prefix"
    prefix_length = [16, 48]
    pps           = 300000
  }

  threshold "carpet1" {
    scope         = "prefix"
    prefix_length = [17, 48]
    pps           = 300000
  }

  threshold "carpet2" {
    scope         = "prefix"
    prefix_length = [18, 48]
    pps           = 300000
  }

  threshold "carpet3" {
    scope         = "prefix"
    prefix_length = [19, 48]
    pps           = 300000
  }

  threshold "carpet4" {
    scope         = "prefix"
    prefix_length = [20, 48]
    pps           = 300000
  }

  threshold "carpet5" {
    scope         = "prefix"
    prefix_length = [21, 48]
    pps           = 300000
  }

  threshold "carpet6" {
    scope         = "prefix"
    prefix_length = [22, 48]
    pps           = 300000
  }

  threshold "carpet7" {
    scope         = "prefix"
    prefix_length = [23, 48]
    pps           = 300000
  }

  threshold "carpet8" {
    scope         = "prefix"
    prefix_length = [24, 48]
    pps           = 300000
  }
}
