// Command rib-action is a mitigating action for tests. Its peer is a file: what
// it announces stands there, a line each, and stays when the process dies, as
// with graceful restart. Beside it lies a log of all announcements and
// withdrawals.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
)

type config struct {
	File      string    `hcl:"file" doc:"the peer; FILE.log is the log, FILE.trouble makes trouble while it is there: it has hang, refuse or late"`
	Protected []string  `hcl:"protected,optional" doc:"prefixes that nothing is done against"`
	Announce  []profile `hcl:"announce,block" doc:"a way to announce"`
}

type profile struct {
	Name string `hcl:"name,label"`
	Text string `hcl:"text,optional" doc:"what is announced beside the prefix"`
	Flow bool   `hcl:"flow,optional" doc:"a flow-spec rule with a further match"`
}

type rib struct {
	cfg config

	mu     sync.Mutex
	routes map[string]string // by id
	report func(sdk.MitigationStatus)
}

func build(c config, _ sdk.Env) (*rib, error) { return &rib{cfg: c, routes: map[string]string{}}, nil }

// Start reads what the peer has.
func (r *rib) Start(context.Context) error {
	b, err := os.ReadFile(r.cfg.File)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for line := range strings.Lines(string(b)) {
		id, route, _ := strings.Cut(strings.TrimSpace(line), " ")
		r.routes[id] = route
	}
	return nil
}

func (r *rib) trouble(ctx context.Context) error {
	b, _ := os.ReadFile(r.cfg.File + ".trouble")
	switch strings.TrimSpace(string(b)) {
	case "hang":
		<-ctx.Done()
		return ctx.Err()
	case "refuse":
		return errors.New("the peer refuses")
	case "late":
		time.Sleep(300 * time.Millisecond)
	}
	return nil
}

func (r *rib) route(m *sdk.Mitigation) (string, error) {
	if len(r.cfg.Announce) == 0 {
		return m.Target.String(), nil
	}
	i := slices.IndexFunc(r.cfg.Announce, func(p profile) bool { return p.Name == m.Profile })
	if i < 0 {
		return "", fmt.Errorf("there is no profile %q", m.Profile)
	}
	text := r.cfg.Announce[i].Text
	if over := m.Attributes["text"]; len(over) > 0 {
		text = over[0]
	}
	if r.cfg.Announce[i].Flow && m.Event.Label == "" {
		return "", errors.New("it waits for a label")
	}
	return strings.TrimSpace(m.Target.String() + " " + text), nil
}

func (r *rib) Preview(ctx context.Context, m sdk.Mitigation) ([]sdk.Announcement, error) {
	if err := r.trouble(ctx); err != nil {
		return nil, err
	}
	text, err := r.route(&m)
	if err != nil {
		return nil, err
	}
	flow := slices.ContainsFunc(r.cfg.Announce, func(p profile) bool { return p.Name == m.Profile && p.Flow })
	a := sdk.Announcement{Prefix: m.Target, Text: text, Discard: true, FlowSpec: flow}
	if flow {
		a.Matches = 1
	}
	return []sdk.Announcement{a}, nil
}

// Sync makes the file what is wanted.
func (r *rib) Sync(ctx context.Context, desired []sdk.Mitigation) error {
	if err := r.trouble(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := map[string]string{}
	var log strings.Builder
	for i := range desired {
		route, err := r.route(&desired[i])
		if err != nil {
			return err
		}
		id := desired[i].ID
		wanted[id] = route
		if have, ok := r.routes[id]; !ok || have != route {
			fmt.Fprintf(&log, "announce %s %s\n", id, route)
		}
	}
	gone := map[string]string{}
	for id, route := range r.routes {
		if _, ok := wanted[id]; !ok {
			gone[id] = route
			fmt.Fprintf(&log, "withdraw %s %s\n", id, route)
		}
	}
	if err := r.write(wanted, log.String()); err != nil {
		return sdk.Retry(err)
	}
	r.routes = wanted
	r.tell(gone)
	return nil
}

func (r *rib) write(routes map[string]string, log string) error {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(routes)) {
		fmt.Fprintf(&b, "%s %s\n", id, routes[id])
	}
	f, err := os.OpenFile(r.cfg.File+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.WriteFile(r.cfg.File+".new", []byte(b.String()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(r.cfg.File+".new", r.cfg.File); err != nil {
		return err
	}
	_, err = f.WriteString(log)
	return err
}

func (r *rib) tell(gone map[string]string) {
	if r.report == nil {
		return
	}
	for id := range gone {
		r.report(sdk.MitigationStatus{ID: id, State: sdk.MitigationReleased, Time: time.Now()})
	}
	for id := range r.routes {
		r.report(sdk.MitigationStatus{
			ID: id, State: sdk.MitigationActive, Time: time.Now(),
			Peers: []sdk.PeerStatus{{Peer: "file", State: sdk.MitigationActive}},
		})
	}
}

func (r *rib) Watch(ctx context.Context, report func(sdk.MitigationStatus)) error {
	r.mu.Lock()
	r.report = report
	r.tell(nil)
	r.mu.Unlock()
	<-ctx.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report = nil
	return nil
}

func (r *rib) Protected() (out []netip.Prefix) {
	for _, p := range r.cfg.Protected {
		if parsed, err := netip.ParsePrefix(p); err == nil {
			out = append(out, parsed)
		}
	}
	return out
}

func (r *rib) Override(_ string, attributes map[string][]string) error {
	for name := range attributes {
		if name != "text" {
			return fmt.Errorf("there is no attribute %q", name)
		}
	}
	return nil
}

func main() {
	sdk.Serve(sdk.Plugin{
		Name: "rib", Version: "0.1.0", Summary: "announces into a file", TargetBlock: "announce",
		Mitigator: sdk.NewMitigator(config{}, build),
	})
}
