package plugin

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/hashicorp/go-hclog"
)

// identity is whose rights a process runs with.
type identity struct {
	credential   *syscall.Credential // nil: ours
	capabilities []uintptr           // that the process gets, and no others
	user         string              // for people
}

// resolveIdentity turns names into numbers. What the core may not do is not an
// error: the plugin then runs as we do, and a warning says so.
func resolveIdentity(name string, capabilities []string, log hclog.Logger) (identity, error) {
	var id identity
	credential, err := lookupUser(name)
	if err != nil {
		return id, err
	}
	if credential != nil {
		if mayChangeUser() {
			id.credential = credential
		} else {
			log.Warn("plugin runs as this program's user: changing users needs root, or CAP_SETUID, CAP_SETGID and CAP_CHOWN", "user", name)
		}
	}
	id.capabilities, err = resolveCapabilities(capabilities, log)
	if id.keepsAll() {
		log.Warn("plugin runs as root and keeps all capabilities of this program: taking them away needs CAP_SETPCAP")
	}
	id.user = name
	if id.credential == nil {
		id.user = fmt.Sprintf("user id %d", os.Geteuid())
	}
	return id, err
}

// lookupUser returns nil for no name and for the user we are.
func lookupUser(name string) (*syscall.Credential, error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("process.user: there is no user %q on this machine", name)
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("process.user: user %q has the id %q: %w", name, u.Uid, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("process.user: user %q has the group id %q: %w", name, u.Gid, err)
	}
	if int(uid) == os.Geteuid() {
		return nil, nil
	}
	credential := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("process.user: the groups of user %q: %w", name, err)
	}
	for _, group := range groups {
		if n, err := strconv.ParseUint(group, 10, 32); err == nil {
			credential.Groups = append(credential.Groups, uint32(n))
		}
	}
	return credential, nil
}
