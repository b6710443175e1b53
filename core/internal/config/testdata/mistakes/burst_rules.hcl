network "n" {
  prefixes = ["10.0.0.0/8"]
}
hostgroup "g" {
  networks = [network.n]
  burst    = ["7x1.5", "16x2", "0x2", "3x0.9", "fast", "2xNaN", 7]
  threshold "t" {
    pps   = 1
    burst = ["1x2", "2x2", "3x2", "4x2"]
  }
}
