// Package api is how a running daemon is asked and told things: the control
// socket (Serve), the client that the commands use (Connect), and Backend, what
// the daemon has to offer. The calls are those of
// proto/fastnetmon/api/v1/control.proto; the types on both sides are the plain
// ones of this package and of the SDK.
//
// Nothing that a client does holds up the daemon: calls are few at a time and
// have deadlines, and events wait in a bounded queue for each subscriber.
package api
