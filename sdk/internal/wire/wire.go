// Package wire holds what both ends of the contract between core and plugin
// share, so that they cannot drift apart: the handshake, the description and
// its schema, and the conversions that need no value of package sdk. (The
// conversions of sdk's own values run one way each and stand where they are
// used: sdk decodes what host encodes, and the other way round. A test in
// host sends every field through both.)
package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-plugin"
)

// Version numbers of the contract.
const (
	SDKVersion    = "0.1.0"
	Protocol      = 1 // major: go-plugin's protocol version
	ProtocolMinor = 3 // grows with every addition to the contract
)

// PluginName is the name under which the one service set is dispensed.
const PluginName = "fastnetmon"

// MaxMessage bounds every message in both directions, in bytes.
const MaxMessage = 16 << 20

// ChunkSize is what a split message aims at, in bytes.
const ChunkSize = 1 << 20

// Bounds of the figures that a plugin has of its own.
const (
	MaxMetrics    = 64
	MaxMetricName = 200 // bytes, labels included
)

// Environment variables that the core sets for a plugin.
const (
	EnvRingFD     = "FASTNETMON_RING_FD"     // number of the inherited socket over which rings arrive
	EnvLivenessFD = "FASTNETMON_LIVENESS_FD" // number of the inherited read end of a pipe the core holds open
	EnvLogLevel   = "FASTNETMON_LOG_LEVEL"   // trace, debug, info, warn or error; info if unset
	EnvReattach   = "FASTNETMON_REATTACH_PLUGINS"
)

// Handshake is what host and plugin must agree on before they speak. The
// cookie keeps people from starting a plugin by hand; it is no secret.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  Protocol,
	MagicCookieKey:   "FASTNETMON_PLUGIN_COOKIE",
	MagicCookieValue: "c3a1f0de9b7442d58f10a1f4f2a9e6b7",
}

// Clean makes text from the other process fit for a terminal and a log: at
// most max bytes, valid UTF-8, and no control characters but newline and tab.
func Clean(s string, max int) string {
	if len(s) > max {
		cut := max
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// valid makes text fit for a protobuf string.
func valid(s string) string { return strings.ToValidUTF8(s, string(unicode.ReplacementChar)) }
