package config

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// What a group is explained as means the same in its place, for every group of
// the examples; where it comes from is compared with a golden file.
func TestExplainGroup(t *testing.T) {
	for _, file := range []string{"testdata/good/full.hcl", "testdata/explain.hcl", "../../../fastnetmon.hcl"} {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c := mustLoad(t, file)
		for _, g := range c.Groups {
			text, ok := c.ExplainGroup(g.Name)
			if !ok {
				t.Fatalf("no group %s", g.Name)
			}
			for _, b := range c.Files[file].Body.(*hclsyntax.Body).Blocks {
				if b.Type == "hostgroup" && b.Labels[0] == g.Name {
					r := b.Range()
					changed := append(append(bytes.Clone(src[:r.Start.Byte]), text...), src[r.End.Byte:]...)
					again, diags := LoadBytes(file, changed, fixed)
					if diags.HasErrors() { // a base that is merged in may have lost its use
						t.Fatalf("%v\n%s", diags, text)
					}
					compareGroups(t, text, g, again)
				}
			}
		}
	}
	c := mustLoad(t, "testdata/explain.hcl")
	text, _ := c.ExplainGroup("leaf")
	sdktest.Golden(t, "testdata/explain.golden", text, *update)
	text, _ = c.ExplainGroup("community_child")
	sdktest.Golden(t, "testdata/explain_community.golden", text, *update)
	if _, ok := c.ExplainGroup("laef"); ok || c.NearestGroup("laef") != "leaf" {
		t.Error("a group that is not there")
	}
}

func compareGroups(t *testing.T, text string, want *HostGroup, c *Config) {
	t.Helper()
	for _, g := range c.Groups {
		if g.Name != want.Name {
			continue
		}
		a, b := *want, *g
		a.Base, b.Base = nil, nil
		switch {
		case a.Detection == DetectionCommunity && !hasWider(&a): // has none, whatever it inherits
			a.Burst = nil
		case a.Burst == nil: // what is left to the default is written out
			a.Burst = DefaultBurst()
		}
		if strings.Contains(text, "\n  base") {
			t.Error("the base is merged in, and yet named")
		}
		if d := cmp.Diff(&a, &b, noRanges, networkNames, blockNames); d != "" {
			t.Errorf("%s (-want +got):\n%s\n%s", want.Name, d, text)
		}
	}
}

var (
	networkNames = cmp.Comparer(func(a, b *Network) bool { return a.Name == b.Name })
	blockNames   = cmp.Comparer(func(a, b Reference) bool { return a.String() == b.String() })
)
