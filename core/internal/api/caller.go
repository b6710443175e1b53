package api

import (
	"context"
	"net"
	"os/user"
	"strconv"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// callers finds out who is at the other end of a connection. Nothing is
// encrypted, and nobody is refused: that is the socket's mode to do.
type callers struct{}

// who is a connection's other end.
type who struct {
	credentials.CommonAuthInfo
	name string
}

// AuthType implements credentials.AuthInfo.
func (who) AuthType() string { return "local" }

// ServerHandshake implements credentials.TransportCredentials.
func (callers) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	raw := conn
	if c, ok := raw.(*counted); ok {
		raw = c.Conn
	}
	info := who{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}, name: "unknown"}
	if u, ok := raw.(*net.UnixConn); ok {
		if uid, known := userOf(u); known {
			info.name = userName(uid)
		}
	}
	return conn, info, nil
}

// userName is a user's name, with the number where it has none.
func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	u, err := user.LookupId(id)
	if err != nil {
		return "uid " + id
	}
	return u.Username
}

// ClientHandshake implements credentials.TransportCredentials.
func (callers) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, who{}, nil
}

// Info implements credentials.TransportCredentials.
func (callers) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "local"}
}

// Clone implements credentials.TransportCredentials.
func (callers) Clone() credentials.TransportCredentials { return callers{} }

// OverrideServerName implements credentials.TransportCredentials.
func (callers) OverrideServerName(string) error { return nil }

// caller is the user whose process makes a call.
func caller(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		if w, ok := p.AuthInfo.(who); ok {
			return w.name
		}
	}
	return "unknown"
}
