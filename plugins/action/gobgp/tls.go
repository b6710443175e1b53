package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// credentials are how gobgpd is spoken to.
func (s *settings) credentials() (credentials.TransportCredentials, error) {
	if s.APICA == "" {
		return insecure.NewCredentials(), nil
	}
	c, err := s.tls()
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(c), nil
}

func (s *settings) tls() (*tls.Config, error) {
	pem, err := os.ReadFile(s.APICA)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12, ServerName: s.APIName}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM form", s.APICA)
	}
	if c.ServerName == "" {
		if c.ServerName, _, err = net.SplitHostPort(s.API); err != nil {
			return nil, err
		}
	}
	if s.APICert != "" {
		pair, err := tls.LoadX509KeyPair(s.APICert, s.APIKey)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// unreached says why a connection to gobgpd failed, without gRPC's wrapping, and
// what to do where it is about TLS.
func unreached(text string) string {
	if _, quoted, ok := strings.Cut(text, "connection error: desc = "); ok {
		if inner, err := strconv.Unquote(quoted); err == nil {
			text = inner
		}
	}
	for _, wrap := range []string{"transport: ", "Error while dialing: ", "authentication handshake failed: ", "tls: failed to verify certificate: "} {
		text = strings.TrimPrefix(text, wrap)
	}
	for _, known := range []struct{ sign, advice string }{
		{"tls: certificate required", "it wants a certificate of its clients: set api_cert and api_key"},
		{"remote error: tls: unknown certificate authority", "it does not know the authority of the certificate in api_cert"},
		{"certificate signed by unknown authority", "its certificate is not of the authorities in api_ca"},
		{"certificate is valid for", text + ": set api_server_name"},
		{"cannot validate certificate for", text + ": set api_server_name"},
		{"first record does not look like a TLS", "its API does not speak TLS: leave out api_ca, or start gobgpd with --tls"},
		{"error reading server preface", "it closes the connection at once: if its API speaks TLS, set api_ca"},
	} {
		if strings.Contains(text, known.sign) {
			return known.advice
		}
	}
	return text
}
