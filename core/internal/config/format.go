package config

import "github.com/hashicorp/hcl/v2/hclwrite"

// Format lays a configuration out in the canonical way; its meaning stays.
// What cannot be parsed, or is too large or deep to be, stays as it is.
func Format(src []byte) []byte {
	if guardSyntax("", src).HasErrors() {
		return src
	}
	return hclwrite.Format(src)
}
