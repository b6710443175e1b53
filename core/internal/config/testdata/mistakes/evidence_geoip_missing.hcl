evidence {
  geoip = ["no-such-file.mmdb"]
}
