required_plugins {
  slack = {
    source = "github.com/acme/slack"
  }
}
