package plugin

import (
	"fmt"
	"os"
	"strings"
)

// environment is the whole environment of a plugin: what programs need to
// work, the block's own, then what we and go-plugin tell it. The last one of a
// name wins, so a block cannot change what the contract sets.
func environment(own map[string]string, contract []string) ([]string, error) {
	var env []string
	for _, name := range []string{"PATH", "LANG", "LC_ALL", "TZ", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range own {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("process.env: %q is not a name and value that an environment can hold", name)
		}
		env = append(env, name+"="+value)
	}
	return append(env, contract...), nil
}
