package pipeline

import (
	"slices"
	"strings"
	"testing"
)

const diffBase = `
network "a" { prefixes = ["203.0.113.0/24"] }

counter "ntp" {
  protocol = "udp"
}

hostgroup "g" {
  networks = [network.a]

  threshold "flood" {
    pps = 100
    bps = "1M"
  }
  threshold "ntp" {
    counter = counter.ntp
    pps     = 10
  }
}
`

func TestDifferences(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string // replaced in the base
		want     []string
	}{
		"nothing":       {"", "", nil},
		"only a line":   {`network "a"`, "\n\nnetwork \"a\"", nil},
		"a limit":       {"pps = 100", "pps = 200", []string{"hostgroup g: threshold flood: pps 100 becomes 200"}},
		"a limit goes":  {`    bps = "1M"`, "", []string{"hostgroup g: threshold flood: bps 1000000 becomes unset"}},
		"a prefix":      {`["203.0.113.0/24"]`, `["203.0.113.0/24", "198.51.100.0/24"]`, []string{"network a: 1 prefixes added, 0 removed", "hostgroup g: 1 prefixes added, 0 removed"}},
		"a counter":     {`"udp"`, `"tcp"`, []string{"counter ntp changes"}},
		"a new network": {`network "a"`, "network \"b\" { prefixes = [\"192.0.2.0/24\"] }\nnetwork \"a\"", []string{"network b is new"}},
		"a new name":    {`threshold "flood"`, `threshold "total"`, []string{"hostgroup g: threshold total is new", "hostgroup g: threshold flood is gone"}},
		"the mode":      {`network "a"`, "daemon { mode = \"enforce\" }\nnetwork \"a\"", []string{"daemon: mode monitor becomes enforce"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := differences(load(t, diffBase), load(t, strings.Replace(diffBase, c.from, c.to, 1)))
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
}
