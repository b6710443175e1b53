package main

import (
	"net"
	"net/mail"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
	"github.com/fastnetmon-go/fastnetmon/sdk/message"
)

// config is the plugin's block.
type config struct {
	Server     string            `hcl:"server" doc:"host or host:port of the SMTP server; the port is 587, 465 or 25 by security unless it is there"`
	Security   string            `hcl:"security,optional" doc:"starttls (unless set), tls or none"`
	TLS        *delivery.TLS     `hcl:"tls,block" doc:"certificates"`
	Username   string            `hcl:"username,optional" doc:"to log in with; not at all unless set"`
	Password   string            `hcl:"password,optional,sensitive" doc:"to log in with"`
	Auth       string            `hcl:"auth,optional" doc:"plain (unless set), login or cram-md5"`
	Helo       string            `hcl:"helo,optional" doc:"our name for the server; the machine's unless set"`
	From       string            `hcl:"from" doc:"sender, such as FastNetMon <fastnetmon@example.net>"`
	To         []string          `hcl:"to" doc:"recipients"`
	Cc         []string          `hcl:"cc,optional" doc:"further recipients"`
	ReplyTo    string            `hcl:"reply_to,optional" doc:"where answers go"`
	Subject    string            `hcl:"subject,optional" doc:"template of the subject"`
	Body       string            `hcl:"body,optional" doc:"template of the text; the report unless set"`
	BodyFile   string            `hcl:"body_file,optional" doc:"file with the template of the text"`
	Variables  map[string]string `hcl:"variables,optional,sensitive" doc:"what the templates find as .variables"`
	Events     []string          `hcl:"events,optional" doc:"what is mailed: attack.started, attack.updated, attack.ended, mitigation.changed; all but updates unless set"`
	Burst      int               `hcl:"burst,optional" doc:"mails that may leave at once; what comes beyond is gathered; 10 unless set"`
	Every      time.Duration     `hcl:"every,optional" doc:"time after which one mail more may leave; 1m unless set"`
	Timeout    time.Duration     `hcl:"timeout,optional" doc:"of one mail; 30s unless set"`
	Attach     []string          `hcl:"attach,optional" doc:"files of the evidence that go along: pcap, report; none unless set"`
	AttachMost sdk.Size          `hcl:"attach_most,optional" doc:"larger files are named only; 1MiB unless set"`
}

const (
	securityStartTLS = "starttls"
	securityTLS      = "tls"
	securityNone     = "none"

	authPlain = "plain"
	authLogin = "login"
	authCRAM  = "cram-md5"

	attachPCAP   = "pcap"
	attachReport = "report"
)

var (
	eventTypes = []string{string(sdk.AttackStarted), string(sdk.AttackUpdated), string(sdk.AttackEnded), string(sdk.MitigationChanged)}
	ports      = map[string]int{securityStartTLS: 587, securityTLS: 465, securityNone: 25}
)

// settings is a configuration, read.
type settings struct {
	config
	host          string
	port          int
	from, replyTo *mail.Address // replyTo may be nil
	to, cc        []*mail.Address
	subject, body *message.Template
}

// checker gathers what is wrong with a configuration.
type checker struct{ ds diag.Diagnostics }

func (k *checker) fail(path diag.Path, summary, detail string, args ...any) {
	k.ds = append(k.ds, diag.Errorf(path, summary, detail, args...))
}

func attr(name string) diag.Path { return diag.Path{}.Attr(name) }

// read checks a configuration. It opens no connection.
func read(c config) (*settings, error) {
	s, k := &settings{config: c}, &checker{}
	k.server(s)
	k.oneOf(attr("auth"), c.Auth, authPlain, authLogin, authCRAM)
	k.login(s)
	s.from = k.address(attr("from"), c.From)
	if c.ReplyTo != "" {
		s.replyTo = k.address(attr("reply_to"), c.ReplyTo)
	}
	for i, a := range c.To {
		s.to = append(s.to, k.address(attr("to").Index(i), a))
	}
	for i, a := range c.Cc {
		s.cc = append(s.cc, k.address(attr("cc").Index(i), a))
	}
	if len(c.To) == 0 {
		k.fail(attr("to"), "No recipient", "Name at least one.")
	}
	if len(c.Events) == 0 {
		k.fail(attr("events"), "No events", "Nothing would ever be mailed. Leave events out to have all but updates.")
	}
	for i, e := range c.Events {
		k.oneOf(attr("events").Index(i), e, eventTypes...)
	}
	for i, a := range c.Attach {
		k.oneOf(attr("attach").Index(i), a, attachPCAP, attachReport)
	}
	k.limits(s)
	k.templates(s)
	return s, k.ds.Err()
}

func (k *checker) oneOf(path diag.Path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		k.fail(path, "Unknown value", "%q is none of %s.", value, strings.Join(allowed, ", "))
	}
}

func (k *checker) server(s *settings) {
	k.oneOf(attr("security"), s.Security, securityStartTLS, securityTLS, securityNone)
	s.host, s.port = s.Server, ports[s.Security]
	if host, port, err := net.SplitHostPort(s.Server); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			k.fail(attr("server"), "Bad port", "%q is no port.", port)
		}
		s.host, s.port = host, int(n)
	}
	if s.host == "" || strings.ContainsAny(s.host, " /\r\n") {
		k.fail(attr("server"), "Bad server", "%q is neither a host nor host:port.", s.Server)
	}
	if strings.ContainsAny(s.Helo, " \r\n") {
		k.fail(attr("helo"), "Bad name", "%q cannot be the name of a machine.", s.Helo)
	}
	k.ds = append(k.ds, s.TLS.Check(attr("tls"))...)
	if _, err := s.TLS.Config(); err != nil {
		k.fail(attr("tls"), "Certificates cannot be used", "%v.", err)
	}
	if s.TLS != nil && s.Security == securityNone {
		k.fail(attr("tls"), "Not encrypted", `With security = "none" no certificate is ever looked at.`)
	}
}

// login refuses to send a password in the clear, but for this machine.
func (k *checker) login(s *settings) {
	if (s.Username == "") != (s.Password == "") {
		k.fail(attr("username"), "Half a login", "username and password belong together.")
	}
	addr, err := netip.ParseAddr(s.host)
	local := s.host == "localhost" || err == nil && addr.IsLoopback()
	if s.Username != "" && s.Security == securityNone && s.Auth != authCRAM && !local {
		k.fail(attr("security"), "Password in the clear", `auth = %q sends the password as it is. Write security = "starttls" or "tls", or auth = "cram-md5".`, s.Auth)
	}
}

func (k *checker) address(path diag.Path, text string) *mail.Address {
	a, err := mail.ParseAddress(text)
	if err != nil || message.Line(text) != text {
		k.fail(path, "Bad address", `%q is no mail address: write noc@example.net or NOC <noc@example.net>.`, text)
		return &mail.Address{}
	}
	return a
}

func (k *checker) limits(s *settings) {
	if s.Burst < 1 || s.Burst > 1000 {
		k.fail(attr("burst"), "Number out of range", "%d is not between 1 and 1000.", s.Burst)
	}
	if s.Every < time.Second || s.Every > 24*time.Hour {
		k.fail(attr("every"), "Duration out of range", "%s is not between 1s and 24h.", s.Every)
	}
	if s.Timeout < time.Second || s.Timeout > 10*time.Minute {
		k.fail(attr("timeout"), "Duration out of range", "%s is not between 1s and 10m.", s.Timeout)
	}
	if s.AttachMost > 64<<20 {
		k.fail(attr("attach_most"), "Size out of range", "%d octets are more than 64MiB.", uint64(s.AttachMost))
	}
}

// templates reads the templates and tries them.
func (k *checker) templates(s *settings) {
	name, text := "body", s.Body
	if s.BodyFile != "" {
		b, err := os.ReadFile(s.BodyFile)
		if err != nil {
			k.fail(attr("body_file"), "File cannot be read", "%v.", err)
			return
		}
		name, text = "body_file", string(b)
	}
	for _, t := range []struct {
		attr, text string
		out        **message.Template
	}{{"subject", s.Subject, &s.subject}, {name, text, &s.body}} {
		parsed, err := message.Parse(t.text, s.Variables)
		if err == nil {
			err = parsed.Check(nil)
		}
		if err != nil {
			k.fail(attr(t.attr), "Template does not work", "%v.", err)
		}
		*t.out = parsed
	}
}

// client makes a client for one mail.
func (s *settings) client() (*gomail.Client, error) {
	conf, err := s.TLS.Config()
	if err != nil {
		return nil, err
	}
	options := []gomail.Option{gomail.WithPort(s.port), gomail.WithTimeout(s.Timeout)}
	switch s.Security {
	case securityStartTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case securityTLS:
		options = append(options, gomail.WithSSL())
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if conf != nil {
		if conf.ServerName == "" {
			conf.ServerName = s.host
		}
		options = append(options, gomail.WithTLSConfig(conf))
	}
	if s.Helo != "" {
		options = append(options, gomail.WithHELO(s.Helo))
	}
	if s.Username != "" {
		auth := map[string]gomail.SMTPAuthType{authPlain: gomail.SMTPAuthPlain, authLogin: gomail.SMTPAuthLogin, authCRAM: gomail.SMTPAuthCramMD5}
		if s.Security == securityNone { // to this machine only
			auth[authPlain], auth[authLogin] = gomail.SMTPAuthPlainNoEnc, gomail.SMTPAuthLoginNoEnc
		}
		options = append(options, gomail.WithSMTPAuth(auth[s.Auth]), gomail.WithUsername(s.Username), gomail.WithPassword(s.Password))
	}
	return gomail.NewClient(s.host, options...)
}
