package corpus

import (
	"fmt"
	"os"
	"strings"
)

// Quote puts a text between the two marks of that name in those of some files
// that have them, and one must; the files' names stand in one string, separated
// by spaces:
//
//	<!-- report NAME: written by make report -->
//	<!-- end of report NAME -->
func Quote(files, name, text string) error {
	begin, end := fmt.Sprintf("<!-- report %s: written by make report -->\n", name), fmt.Sprintf("<!-- end of report %s -->", name)
	quoted := false
	for _, path := range strings.Fields(files) {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		before, rest, found := strings.Cut(string(b), begin)
		_, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			continue
		}
		quoted = true
		if err := os.WriteFile(path, []byte(before+begin+strings.TrimRight(text, "\n")+"\n"+end+after), 0o600); err != nil { //nolint:gosec // whoever runs the report names the files
			return err
		}
	}
	if !quoted {
		return fmt.Errorf("%s: nowhere between %q and %q", files, strings.TrimSpace(begin), end)
	}
	return nil
}
