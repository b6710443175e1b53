package plugin

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// In the order of their numbers, capabilities(7).
var capabilityNames = strings.Fields(`chown dac_override dac_read_search fowner fsetid kill setgid setuid
	setpcap linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module
	sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config
	mknod lease audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend
	audit_read perfmon bpf checkpoint_restore`)

// held returns our capabilities: the effective and the permitted ones.
func held() (effective, permitted uint64) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, 0
	}
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective),
		uint64(data[1].Permitted)<<32 | uint64(data[0].Permitted)
}

func mayChangeUser() bool {
	const need = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_CHOWN
	effective, _ := held()
	return effective&need == need
}

func resolveCapabilities(names []string, log hclog.Logger) ([]uintptr, error) {
	_, permitted := held()
	var numbers []uintptr
	for _, name := range names {
		plain := strings.TrimPrefix(strings.ToLower(name), "cap_")
		number := slices.Index(capabilityNames, plain)
		switch {
		case number < 0:
			hint := ""
			if near := nearest(plain, capabilityNames); near != "" {
				hint = fmt.Sprintf("; did you mean CAP_%s?", strings.ToUpper(near))
			}
			return nil, fmt.Errorf("process.capabilities: there is no capability %q%s", name, hint)
		case permitted&(1<<number) == 0:
			log.Warn("plugin runs without a capability that this program does not have itself", "capability", strings.ToUpper("cap_"+plain))
		default:
			numbers = append(numbers, uintptr(number))
		}
	}
	return numbers, nil
}

// restrictThread takes from the calling thread what its child shall not
// inherit: new privileges through set-uid programs and file capabilities, and
// every capability that its block does not name, root's too. The thread must
// not be used again.
func restrictThread(id identity) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbidding new privileges: %w", err)
	}
	// Before Linux 4.3 there are no ambient capabilities to clear.
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	if effective, _ := held(); effective&(1<<unix.CAP_SETPCAP) == 0 {
		return nil // an ordinary user's child has the ambient ones only; of root's see keepsAll
	}
	for number := range uintptr(len(capabilityNames)) {
		if slices.Contains(id.capabilities, number) {
			continue
		}
		// EINVAL: a kernel that does not know this one yet.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, number, 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("leaving out capability %s: %w", capabilityNames[number], err)
		}
	}
	return nil
}

// keepsAll tells of a process that runs as root and keeps all that we have: to
// take capabilities from root needs one itself.
func (id identity) keepsAll() bool {
	effective, permitted := held()
	root := id.credential == nil && os.Geteuid() == 0 || id.credential != nil && id.credential.Uid == 0
	return root && permitted != 0 && effective&(1<<unix.CAP_SETPCAP) == 0
}

// String says whose rights these are: "user id 0 without capabilities".
func (id identity) String() string {
	switch {
	case id.keepsAll():
		return id.user + " with all capabilities of this program"
	case len(id.capabilities) == 0:
		return id.user + " without capabilities"
	}
	var names []string
	for _, number := range id.capabilities {
		names = append(names, "CAP_"+strings.ToUpper(capabilityNames[number]))
	}
	return id.user + " with " + strings.Join(names, " ")
}
