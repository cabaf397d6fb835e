// Package privileges drops the privileges that the plugin does not need. dockerd runs a
// managed plugin as uid 0 with Docker's default capabilities, such as CAP_NET_RAW and
// CAP_MKNOD, and without seccomp, whatever config.json asks for (moby,
// daemon/pkg/oci/defaults.go). The plugin only reads FIFOs, writes its own files and makes
// HTTPS requests. The package must not know why a capability is kept.
//
// Capabilities belong to threads, and the Go runtime can start a thread at any time. So the system
// calls here run on all threads at once, which the runtime supports only in programs built without
// cgo.
package privileges

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Set is a set of capabilities. Bit n is capability n of capabilities(7).
type Set uint64

// Of returns the set of the given capabilities, such as unix.CAP_KILL.
func Of(caps ...int) Set {
	var s Set
	for _, c := range caps {
		s |= 1 << c
	}
	return s
}

// String lists the names, such as "CAP_CHOWN CAP_KILL". For the empty set, it returns "none".
func (s Set) String() string {
	if s == 0 {
		return "none"
	}
	var list []string
	for ; s != 0; s &= s - 1 {
		c := bits.TrailingZeros64(uint64(s))
		if c < len(names) {
			list = append(list, "CAP_"+names[c])
		} else {
			list = append(list, fmt.Sprintf("CAP_%d", c))
		}
	}
	return strings.Join(list, " ")
}

// names are in the order of include/uapi/linux/capability.h.
var names = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
	LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
	SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
	AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON
	BPF CHECKPOINT_RESTORE`)

// Drop permanently drops all capabilities except keep, on every thread. It empties the inheritable,
// ambient and bounding sets, and leaves only keep in the permitted and effective sets. It also sets
// no_new_privs, so that no executed program gets a capability back. It returns the dropped
// capabilities. An ordinary user, who has none, may call it too. After an error, some capabilities
// may be left.
//
// Call it once, early, in a program built with CGO_ENABLED=0. In other programs it changes nothing
// and returns errors.ErrUnsupported.
func Drop(keep Set) (dropped Set, err error) {
	_, had, err := capget()
	if err != nil {
		return 0, err
	}
	if err := onAllThreads("set no_new_privs", syscall.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return 0, err
	}
	// The bounding set comes first, because emptying it needs CAP_SETPCAP. Without CAP_SETPCAP, the
	// bounding set is of no use, because no_new_privs is set.
	if had&Of(unix.CAP_SETPCAP) != 0 {
		if err := dropBounding(); err != nil {
			return 0, err
		}
	}
	// Emptying the inheritable set also empties the ambient set (capabilities(7)).
	left := had & keep
	header, data := capdata(left, left, 0)
	if err := onAllThreads("set the capabilities", syscall.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); err != nil {
		return 0, err
	}
	return had &^ left, nil
}

func dropBounding() error {
	for c := range 64 {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			return nil // past the last capability that this kernel knows
		}
		if err != nil {
			return fmt.Errorf("couldn't read the bounding set: %w", err)
		}
		if in == 1 {
			what := "drop " + Of(c).String() + " from the bounding set"
			if err := onAllThreads(what, syscall.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c), 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func onAllThreads(what string, trap, a1, a2, a3 uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(trap, a1, a2, a3, 0, 0, 0)
	switch errno {
	case 0:
		return nil
	case syscall.ENOTSUP:
		return fmt.Errorf("couldn't %s: built with cgo: %w", what, errors.ErrUnsupported)
	default:
		return fmt.Errorf("couldn't %s: %w", what, errno)
	}
}

// capget returns the calling thread's effective and permitted sets. They are the same on all
// threads, unless they were changed on one thread only.
func capget() (effective, permitted Set, err error) {
	header, data := capdata(0, 0, 0)
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, 0, fmt.Errorf("couldn't read the capabilities: %w", err)
	}
	return Set(data[0].Effective) | Set(data[1].Effective)<<32, Set(data[0].Permitted) | Set(data[1].Permitted)<<32, nil
}

// capdata returns the arguments of capget(2) and capset(2) for the calling thread.
func capdata(effective, permitted, inheritable Set) (unix.CapUserHeader, [2]unix.CapUserData) {
	return unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{
		{Effective: uint32(effective), Permitted: uint32(permitted), Inheritable: uint32(inheritable)},
		{Effective: uint32(effective >> 32), Permitted: uint32(permitted >> 32), Inheritable: uint32(inheritable >> 32)},
	}
}
