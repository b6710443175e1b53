package main

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/diag"
)

// config is the plugin's block.
type config struct {
	URL          string          `hcl:"url,optional" doc:"of the servers, without user and password; mongodb://127.0.0.1:27017 unless set"`
	Database     string          `hcl:"database,optional" doc:"made if it is not there; fastnetmon unless set"`
	User         string          `hcl:"user,optional" doc:"where the servers ask for one"`
	Password     string          `hcl:"password,optional,sensitive" doc:"of user"`
	AuthDatabase string          `hcl:"auth_database,optional" doc:"that knows the user; admin unless set"`
	Mechanism    string          `hcl:"mechanism,optional" doc:"how the user is known: scram-sha-256, scram-sha-1, plain or x509; what the servers offer unless set"`
	WriteConcern string          `hcl:"write_concern,optional" doc:"who must have what was written: majority, or a number of servers from 1 on; majority unless set"`
	Journal      bool            `hcl:"journal,optional" doc:"whether they must have it in their journals; false unless set: as the servers do"`
	Keep         time.Duration   `hcl:"keep,optional" doc:"how long an attack is kept after its last event; 720h unless set"`
	Rates        bool            `hcl:"rates,optional" doc:"whether rates are written; true unless set"`
	RatesSize    sdk.Size        `hcl:"rates_size,optional" doc:"of the collection of rates, in which the oldest go; 256MiB unless set"`
	Layout       string          `hcl:"layout,optional" doc:"native, or fastnetmon for the documents of FastNetMon Community; native unless set"`
	TLS          *delivery.TLS   `hcl:"tls,block"`
	Delivery     delivery.Config `hcl:"delivery,block,optional"`
}

func defaults() config {
	return config{
		URL: "mongodb://127.0.0.1:27017", Database: "fastnetmon", AuthDatabase: "admin", WriteConcern: "majority", Keep: 30 * 24 * time.Hour,
		Rates: true, RatesSize: 256 << 20, Layout: delivery.LayoutNative, Delivery: delivery.Defaults(),
	}
}

// databaseShape is what names a database on every platform.
var databaseShape = regexp.MustCompile(`^[^/\\. "$*<>:|?\x00]{1,63}$`)

// mechanisms are the ways of showing who we are, by our names.
var mechanisms = map[string]string{"": "", "scram-sha-256": "SCRAM-SHA-256", "scram-sha-1": "SCRAM-SHA-1", "plain": "PLAIN", "x509": "MONGODB-X509"}

// attributes are settings of a URL that have an attribute or a block of their
// own, in lower case.
var attributes = map[string]string{
	"w": "write_concern", "journal": "journal", "authsource": "auth_database", "authmechanism": "mechanism",
	"tls": "tls", "ssl": "tls", "tlscafile": "tls", "tlscertificatekeyfile": "tls", "tlscertificatefile": "tls", "tlsprivatekeyfile": "tls", "tlsinsecure": "tls",
	"timeoutms": "delivery", "wtimeoutms": "delivery", "sockettimeoutms": "delivery", "connecttimeoutms": "delivery", "serverselectiontimeoutms": "delivery",
}

// concern is write_concern as the driver has it; nil if it is none.
func (c *config) concern() *writeconcern.WriteConcern {
	w := &writeconcern.WriteConcern{}
	if c.Journal {
		w.Journal = &c.Journal
	}
	if c.WriteConcern == "majority" {
		w.W = c.WriteConcern
		return w
	}
	n, err := strconv.Atoi(c.WriteConcern)
	if err != nil || n < 1 || n > 50 {
		return nil
	}
	w.W = n
	return w
}

// Validate checks what the schema cannot. It opens nothing.
func (e *exporter) Validate(context.Context) error {
	c := &e.cfg
	ds := c.checkURL()
	fail := func(attr, summary, detail string, args ...any) {
		ds = append(ds, diag.Errorf(diag.Path{}.Attr(attr), summary, detail, args...))
	}
	if !databaseShape.MatchString(c.Database) {
		fail("database", "Bad name", `%q cannot name a database: at most 63 bytes, and no blank, dot, quote or any of /\$*<>:|?.`, c.Database)
	}
	if _, ok := mechanisms[c.Mechanism]; !ok {
		fail("mechanism", "Unknown mechanism", "%q is none of scram-sha-256, scram-sha-1, plain and x509.", c.Mechanism)
	}
	switch {
	case c.Mechanism == "x509" && (c.TLS == nil || c.TLS.Cert == ""):
		fail("mechanism", "Certificate missing", "x509 shows who we are by a certificate: set cert_file and key_file in a block tls.")
	case c.Mechanism == "x509" && c.Password != "":
		fail("password", "Password of no use", "x509 shows who we are by a certificate: remove the password.")
	case c.User == "" && c.Password != "":
		fail("password", "Password without user", "Set user as well.")
	case c.User != "" && c.Password == "" && c.Mechanism != "x509":
		fail("user", "User without password", "Set password as well.")
	case c.User == "" && c.Mechanism != "" && c.Mechanism != "x509" && mechanisms[c.Mechanism] != "":
		fail("mechanism", "Mechanism without user", "Set user and password as well.")
	}
	if c.concern() == nil {
		fail("write_concern", "Value out of range", `%q is neither "majority" nor a number from 1 to 50.`, c.WriteConcern)
	}
	if c.Keep < time.Minute {
		fail("keep", "Value out of range", "%s is shorter than a minute.", c.Keep)
	}
	if c.RatesSize < 1<<20 || c.RatesSize > 1<<42 {
		fail("rates_size", "Value out of range", "%d bytes are not between 1MiB and 4TiB.", uint64(c.RatesSize))
	}
	ds = append(ds, delivery.CheckLayout(diag.Path{}.Attr("layout"), c.Layout)...)
	ds = append(ds, c.TLS.Check(diag.Path{}.Attr("tls"))...)
	return append(ds, c.Delivery.Check(diag.Path{}.Attr("delivery"))...).Err()
}

// checkURL looks at the URL without asking for names: that of mongodb+srv is
// looked up in the DNS when the plugin connects.
func (c *config) checkURL() (ds diag.Diagnostics) {
	at := diag.Path{}.Attr("url")
	fail := func(summary, detail string, args ...any) diag.Diagnostics {
		return diag.Diagnostics{diag.Errorf(at, summary, detail, args...)}
	}
	scheme, rest, ok := strings.Cut(c.URL, "://")
	if !ok || scheme != "mongodb" && scheme != "mongodb+srv" || rest == "" {
		return fail("Bad URL", `Write one such as "mongodb://127.0.0.1:27017", "mongodb://a.example.net,b.example.net/?replicaSet=rs0" or "mongodb+srv://cluster.example.net".`)
	}
	hosts, query, _ := strings.Cut(rest, "?")
	hosts, path, _ := strings.Cut(hosts, "/")
	if strings.Contains(hosts, "@") {
		return fail("Password in the URL", "Errors show the URL: write user and password as attributes.")
	}
	if path != "" {
		return fail("Database in the URL", "Write the database's name as the attribute database.")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return fail("Bad URL", "What follows the question mark cannot be read: %s.", err)
	}
	for name := range values {
		if attr := attributes[strings.ToLower(name)]; attr != "" {
			ds = append(ds, fail("Setting in the URL", "Instead of %s, set %s in this block.", name, attr)...)
		}
	}
	if len(ds) == 0 && scheme == "mongodb" {
		if err := options.Client().ApplyURI(c.URL).Validate(); err != nil {
			return fail("Bad URL", "It cannot be used: %s.", strings.TrimPrefix(err.Error(), "error parsing uri: "))
		}
	}
	slices.SortFunc(ds, func(a, b diag.Diagnostic) int { return strings.Compare(a.Detail, b.Detail) })
	return ds
}
