package plugin

import (
	"fmt"
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
// capabilities that were not asked for. The thread must not be used again.
func restrictThread(id identity) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbidding new privileges: %w", err)
	}
	// Before Linux 4.3 there are no ambient capabilities to clear.
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	effective, _ := held()
	if !id.bounded || effective&(1<<unix.CAP_SETPCAP) == 0 {
		return nil
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
