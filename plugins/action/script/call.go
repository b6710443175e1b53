package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/mark"
	"github.com/fastnetmon-go/fastnetmon/sdk/message"
	"github.com/fastnetmon-go/fastnetmon/sdk/report"
)

// told is what a script is told of an attack, whatever it is called for. It is
// kept with a ban, for the call that takes it back.
type told struct {
	Attack    string          `json:"attack"`
	Target    netip.Prefix    `json:"target"`
	Direction string          `json:"direction"`
	Power     string          `json:"power"` // packets per second at the start
	Variables []string        `json:"variables"`
	Event     json.RawMessage `json:"event"`
}

// tell puts together what a script is told; m is the mitigation that it is
// called for, nil if it is not called for one.
func tell(e sdk.Event, m *sdk.Mitigation) (told, error) {
	line, err := json.Marshal(e)
	if err != nil {
		return told{}, fmt.Errorf("cannot write attack %s as JSON: %w", e.ID, err)
	}
	t := told{
		Attack: e.ID, Target: e.Target, Direction: e.Direction, Power: report.Whole(e.InitialPPS),
		Variables: variables(e), Event: line,
	}
	if m != nil {
		t.Target, t.Direction = m.Target, m.Direction
		t.Variables = append(t.Variables, "FASTNETMON_MITIGATION_ID="+m.ID)
		for name, value := range map[string]string{"FASTNETMON_BY": m.By, "FASTNETMON_REASON": m.Reason} {
			if value != "" {
				t.Variables = append(t.Variables, name+"="+harmless(value))
			}
		}
		slices.Sort(t.Variables)
	}
	return t, nil
}

// maxText is how many octets of what a person wrote reach the environment.
const maxText = 4096

// harmless is a person's text as it can stand in an environment variable.
func harmless(text string) string {
	return strings.ReplaceAll(text[:min(len(text), maxText)], "\x00", "")
}

// variables are what the environment says of an attack.
func variables(e sdk.Event) []string {
	var env []string
	if e.Summary != nil {
		env = append(env, "FASTNETMON_ATTACKS="+strconv.Itoa(e.Summary.Attacks))
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	return append(env,
		"FASTNETMON_EVENT="+string(e.Type),
		"FASTNETMON_ATTACK_ID="+e.ID,
		"FASTNETMON_TARGET="+sdk.TargetText(e.Target),
		"FASTNETMON_DIRECTION="+e.Direction,
		"FASTNETMON_HOSTGROUP="+e.HostGroup,
		"FASTNETMON_NETWORK="+e.Network,
		"FASTNETMON_THRESHOLD="+e.Threshold,
		"FASTNETMON_COUNTER="+e.Counter,
		"FASTNETMON_UNIT="+e.Unit,
		"FASTNETMON_VALUE="+number(e.Value),
		"FASTNETMON_LIMIT="+number(e.Limit),
		"FASTNETMON_ATTACK_TYPE="+e.AttackType,
		"FASTNETMON_MODE="+e.Mode,
		"FASTNETMON_WOULD_HAVE="+strconv.FormatBool(e.WouldHave),
	)
}

// stdin is what a call's standard input holds.
func (s *script) stdin(t told, e *sdk.Event, action string) []byte {
	switch {
	case s.cfg.Format == formatJSON:
		return append(slices.Clone(t.Event), '\n')
	case action == "ban":
		return report.Counters(e)
	case action == "attack_details":
		return report.Text(e)
	case e.Type == sdk.MitigationChanged:
		return []byte(message.Text(e))
	}
	return nil
}

// call puts the script's arguments and environment together.
func (s *script) call(t told, action string, stdin []byte) *call {
	target := sdk.TargetText(t.Target)
	sign := mark.New()
	return &call{
		argv:    append(slices.Clone(s.cfg.Command), target, t.Direction, t.Power, action),
		env:     append(s.environment(), append(t.Variables, "FASTNETMON_ACTION="+action, envCall+"="+sign)...),
		stdin:   stdin,
		mark:    sign,
		timeout: s.cfg.Timeout,
		now:     s.late.Done(),
		sweeper: s.sweeper,
		log:     s.log.With("attack", t.Attack, "target", target, "action", action),
	}
}

// defaultPath is the script's PATH where the plugin has none itself.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is what the script's environment holds besides the attack: nothing
// of the plugin's own, which carries the credentials of its connection to the
// core, except where programs, the home directory and the local time zone are
// found; and what the configuration sets.
func (s *script) environment() []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = defaultPath
	}
	env := []string{"PATH=" + path}
	for _, name := range []string{"HOME", "LANG", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Environment)) {
		env = append(env, name+"="+s.cfg.Environment[name])
	}
	return env
}
