package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"testing"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// overTLS is drive with TLS.
func overTLS(address, ca string, options ...string) string {
	return fmt.Sprintf("api = %q\napi_ca = %q\n%s\n%s", address, ca, strings.Join(options, "\n"), profiles)
}

// A gobgpd whose API speaks TLS: whoever has its authority drives it; another
// authority, another name, or no TLS at all say what is wrong, and announce
// nothing.
func TestDriveTLS(t *testing.T) {
	if !inNamespace(t, "bird", "gobgpd") {
		return
	}
	cert, key := sdktest.Certificate(t, t.TempDir())
	other, _ := sdktest.Certificate(t, t.TempDir())
	o := peerOptions{connect: true}
	o.complete()
	far := bird(t, o)
	daemon := gobgpd(t, peerOptions{address: o.near, near: o.address, as: ourAS, passiveTo: theirAS, cert: cert, key: key})
	plain := gobgpd(t, peerOptions{})
	daemon.answers()
	plain.answers()
	m := mitigate("1", "203.0.113.5/32", "blackhole")
	for _, c := range []struct{ name, config, cause string }{
		{"authority", overTLS(daemon.api, other), "not of the authorities in api_ca"},
		{"name", overTLS(daemon.api, cert, `api_server_name = "elsewhere"`), "valid for localhost, not elsewhere: set api_server_name"},
		{"none", drive(daemon), "set api_ca"},
		{"a plain one", overTLS(plain.api, cert), "leave out api_ca"},
	} {
		h := sdktest.New(t, plugin(), c.config)
		w := watch(t, h)
		sync1(t, h, m)
		st := w.want("1", sdk.MitigationPending, c.cause)
		if text := h.Health().Message; !strings.Contains(text, c.cause) {
			t.Errorf("%s: health is %q, state %+v", c.name, text, st)
		}
		if err := h.Drain(); err != nil {
			t.Fatal(err)
		}
	}
	if got := append(daemon.routes("ipv4"), plain.routes("ipv4")...); len(got) > 0 {
		t.Fatalf("gobgpd has %q", got)
	}
	daemon.kill() // it comes late, and goes and comes
	h := sdktest.New(t, plugin(), overTLS(daemon.api, cert, `api_server_name = "localhost"`))
	w := watch(t, h)
	sync1(t, h, m)
	for range 2 {
		w.want("1", sdk.MitigationPending, "gobgpd at "+daemon.api)
		daemon.start()
		w.want("1", sdk.MitigationActive, "")
		far.wantRoutes("ipv4", peersWrite["bird"].v4)
		daemon.kill()
	}
	daemon.start()
	w.want("1", sdk.MitigationActive, "")
	sync1(t, h)
	w.want("1", sdk.MitigationReleased, "")
	far.wantRoutes("ipv4")
}

// A gobgp that wants certificates of its clients (gobgpd has an option for that; the
// tests' one is too old) lets in ours, and says no without one.
func TestDriveClientCertificate(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	cert, key := sdktest.Certificate(t, t.TempDir())
	pem, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(pem)
	address := fmt.Sprintf("127.0.0.1:%d", sdktest.FreePort(t))
	creds := credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: known, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	})
	s := server.NewBgpServer(server.LoggerOption(quiet{}), server.GrpcListenAddress(address), server.GrpcOption([]grpc.ServerOption{grpc.Creds(creds)}))
	go s.Serve() // it never ends, but this process does
	if err := s.StartBgp(t.Context(), &api.StartBgpRequest{Global: &api.Global{Asn: ourAS, RouterId: "192.0.2.10", ListenPort: -1}}); err != nil {
		t.Fatal(err)
	}
	m := mitigate("1", "203.0.113.5/32", "blackhole")
	table := func() (n int) {
		err := s.ListPath(context.Background(), &api.ListPathRequest{Family: &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}}, func(*api.Destination) { n++ })
		if err != nil {
			t.Error(err)
		}
		return n
	}

	h := sdktest.New(t, plugin(), overTLS(address, cert))
	w := watch(t, h)
	sync1(t, h, m)
	w.want("1", sdk.MitigationPending, "set api_cert and api_key")
	if err := h.Drain(); err != nil || table() > 0 {
		t.Fatal(err, table())
	}

	h = sdktest.New(t, plugin(), overTLS(address, cert, fmt.Sprintf("api_cert = %q\napi_key = %q", cert, key)))
	w = watch(t, h)
	sync1(t, h, m)
	w.want("1", sdk.MitigationPending, "no neighbour of gobgpd has the family") // so it was reached
	if n := table(); n != 1 {
		t.Errorf("gobgp has %d routes", n)
	}
	sync1(t, h)
	w.want("1", sdk.MitigationReleased, "")
	if n := table(); n != 0 {
		t.Errorf("gobgp has %d routes", n)
	}
}
