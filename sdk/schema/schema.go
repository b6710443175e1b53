// Package schema has the JSON schemas of what FastNetMon writes, and holds
// documents against them.
package schema

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Names of the schemas.
const (
	Event  = "event-v1.json"  // a line of replay --json, of a script's standard input, of exporters
	Attack = "attack-v1.json" // an attack of the history: fastnetmon attacks export --format json
)

//go:embed *.json
var files embed.FS

// Node is as much of JSON Schema as these schemas use.
type Node struct {
	Ref        string           `json:"$ref"`
	Defs       map[string]*Node `json:"$defs"`
	Type       any              `json:"type"`
	Enum       []string         `json:"enum"`
	OneOf      []*Node          `json:"oneOf"`
	Required   []string         `json:"required"`
	Properties map[string]*Node `json:"properties"`
	Additional json.RawMessage  `json:"additionalProperties"`
	Items      *Node            `json:"items"`
	Minimum    *float64         `json:"minimum"`
	Maximum    *float64         `json:"maximum"`
}

// Load reads one of the schemas.
func Load(name string) (*Node, error) {
	b, err := files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	root := &Node{}
	if err := json.Unmarshal(b, root); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return root, nil
}

// Check holds a document against a definition of the schema ("": all of it). It
// returns the paths of the properties that the document has, which begin with
// at.
func (root *Node) Check(definition string, document []byte, at string) (used map[string]bool, err error) {
	var v any
	if err := json.Unmarshal(document, &v); err != nil {
		return nil, err
	}
	n := root
	if definition != "" {
		if n = root.Defs[definition]; n == nil {
			return nil, fmt.Errorf("the schema has no definition %s", definition)
		}
	}
	used = map[string]bool{}
	return used, root.check(n, v, at, used)
}

// check holds a value against a node, and notes which properties it used.
func (root *Node) check(n *Node, v any, at string, used map[string]bool) error {
	if n.Ref != "" {
		file, name, _ := strings.Cut(n.Ref, "#/$defs/")
		if file != "" {
			other, err := Load(file)
			if err != nil {
				return err
			}
			root = other
		}
		if root.Defs[name] == nil {
			return fmt.Errorf("%s: no definition %s", at, name)
		}
		return root.check(root.Defs[name], v, at, used)
	}
	if len(n.Enum) > 0 && !slices.Contains(n.Enum, fmt.Sprint(v)) {
		return fmt.Errorf("%s: %v is none of %q", at, v, n.Enum)
	}
	if n.Type != nil && !ofType(n.Type, v) {
		return fmt.Errorf("%s: %v is no %v", at, v, n.Type)
	}
	switch v := v.(type) {
	case float64:
		if n.Minimum != nil && v < *n.Minimum || n.Maximum != nil && v > *n.Maximum {
			return fmt.Errorf("%s: %v is out of bounds", at, v)
		}
	case []any:
		for i, x := range v {
			if err := root.check(n.Items, x, fmt.Sprintf("%s[%d]", at, i), used); err != nil {
				return err
			}
		}
	case map[string]any:
		return root.checkObject(n, v, at, used)
	}
	return nil
}

func (root *Node) checkObject(n *Node, v map[string]any, at string, used map[string]bool) error {
	for _, name := range n.Required {
		if _, ok := v[name]; !ok {
			return fmt.Errorf("%s: %s is missing", at, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		p := n.Properties[name]
		used[at+"."+name] = true
		if p == nil {
			var more Node
			if string(n.Additional) == "false" || json.Unmarshal(n.Additional, &more) != nil {
				return fmt.Errorf("%s: %s is not in the schema", at, name)
			}
			p = &more
		}
		if err := root.check(p, v[name], at+"."+name, used); err != nil {
			return err
		}
	}
	return nil
}

func ofType(want, v any) bool {
	var names []any
	switch want := want.(type) {
	case string:
		names = []any{want}
	case []any:
		names = want
	}
	for _, n := range names {
		switch v := v.(type) {
		case nil:
			if n == "null" {
				return true
			}
		case bool:
			if n == "boolean" {
				return true
			}
		case string:
			if n == "string" {
				return true
			}
		case float64:
			if n == "number" || n == "integer" && v == float64(int64(v)) {
				return true
			}
		case []any:
			if n == "array" {
				return true
			}
		case map[string]any:
			if n == "object" {
				return true
			}
		}
	}
	return false
}
