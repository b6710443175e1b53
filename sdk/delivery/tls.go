package delivery

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// TLS is the block tls {} of exporters whose store can be reached so; that it
// stands there asks for TLS:
//
//	TLS *delivery.TLS `hcl:"tls,block"`
type TLS struct {
	CA         string `hcl:"ca_file,optional" doc:"certificates that the store's is checked against, PEM; the system's unless set"`
	Cert       string `hcl:"cert_file,optional" doc:"our own certificate, PEM, where the store asks for one"`
	Key        string `hcl:"key_file,optional" doc:"the key of cert_file, PEM"`
	ServerName string `hcl:"server_name,optional" doc:"name that the store's certificate must have; the one it is reached by unless set"`
	Insecure   bool   `hcl:"insecure,optional" doc:"true believes any certificate: only for tests"`
}

// Check complains of what makes no sense; at is the block's path.
func (t *TLS) Check(at diag.Path) diag.Diagnostics {
	if t != nil && (t.Cert == "") != (t.Key == "") {
		return diag.Diagnostics{diag.Errorf(at, "Certificate without its key", "cert_file and key_file belong together: set both or neither.")}
	}
	return nil
}

// Config reads the files; nil where there is no block. Called for each
// connection, it takes up certificates that were renewed.
func (t *TLS) Config() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.Insecure} //nolint:gosec // only where the configuration says so
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("ca_file cannot be read: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("ca_file " + t.CA + " has no certificate in PEM form")
		}
	}
	if t.Cert != "" {
		cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("cert_file and key_file cannot be used: %w", err)
		}
		out.Certificates = []tls.Certificate{cert}
	}
	return out, nil
}
