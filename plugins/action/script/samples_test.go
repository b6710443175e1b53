package main

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/traffic"
)

// The samples of examples/scripts understand each call, in both formats.
func TestSamples(t *testing.T) {
	details := attack()
	details.Type, details.Seq = sdk.AttackUpdated, 2
	r := traffic.Record{Packets: 1, Bytes: 60, Protocol: traffic.ProtoTCP}
	details.Evidence = &sdk.EvidenceReport{
		Complete: true, Dump: []sdk.Sample{{Record: traffic.Bytes([]traffic.Record{r})}},
		Tops: []sdk.Top{{Name: "sources", Distinct: 1, Rows: []sdk.TopRow{{Value: "198.51.100.1", Packets: 5, Bytes: 300, Share: 1}}}},
	}
	ended := attack()
	ended.Type, ended.Seq = sdk.AttackEnded, 3
	for _, name := range []string{"notify_about_attack.sh", "notify_about_attack.py"} {
		for _, format := range []string{formatText, formatJSON} {
			t.Run(name+" "+format, func(t *testing.T) {
				path, err := filepath.Abs("../../../examples/scripts/" + name)
				if err != nil {
					t.Fatal(err)
				}
				s, _, log := setup(t, "", func(c *config) { c.Command, c.Format, c.Details = []string{path}, format, true })
				for _, e := range []sdk.Event{attack(), details, ended} {
					if err := s.Notify(t.Context(), e); err != nil {
						t.Error(err)
					}
				}
				for _, want := range []string{
					"10.10.10.221: incoming attack of 99059 packets per second (monitor mode: nothing was done)",
					"10.10.10.221: packets of the incoming attack", "10.10.10.221: the incoming attack is over",
				} {
					if !strings.Contains(log.String(), want) {
						t.Errorf("the log lacks %q:\n%s", want, log)
					}
				}
			})
		}
	}
}

// The sample in Python mails the event in words.
func TestSampleMails(t *testing.T) {
	server, mail := smtpSink(t)
	path, err := filepath.Abs("../../../examples/scripts/notify_about_attack.py")
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(config{
		Role: roleNotify, Command: []string{path}, Format: formatJSON, Timeout: maxTimeout, MaxConcurrent: 1,
		Environment: map[string]string{"MAIL_TO": "noc@example.net", "MAIL_SERVER": server},
	}, hclog.NewNullLogger(), "")
	if err := s.Notify(t.Context(), attack()); err != nil {
		t.Fatal(err)
	}
	got := <-mail
	for _, want := range []string{"To: noc@example.net", "Subject: FastNetMon: 10.10.10.221: incoming attack", "total: 99059.25 pps, limit 20000 (flood)"} {
		if !strings.Contains(got, want) {
			t.Errorf("the mail lacks %q:\n%s", want, got)
		}
	}
}

// smtpSink takes one mail, as RFC 5321 has it at its simplest.
func smtpSink(t *testing.T) (address string, mail <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	out := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "220 sink\r\n")
		var text strings.Builder
		for data, lines := false, bufio.NewScanner(conn); lines.Scan(); {
			line := lines.Text()
			switch {
			case data && line == ".":
				out <- text.String()
				data = false
			case data:
				text.WriteString(line + "\n")
				continue
			case strings.EqualFold(line, "QUIT"):
				fmt.Fprint(conn, "221 bye\r\n")
				return
			case strings.EqualFold(line, "DATA"):
				data = true
				fmt.Fprint(conn, "354 go on\r\n")
				continue
			}
			fmt.Fprint(conn, "250 ok\r\n")
		}
	}()
	return l.Addr().String(), out
}
