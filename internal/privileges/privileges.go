// Package privileges gives up what the plugin does not need. dockerd runs a managed plugin as uid 0
// with Docker's default capabilities, such as CAP_NET_RAW and CAP_MKNOD, and without seccomp,
// whatever config.json asks for (moby, daemon/pkg/oci/defaults.go); all the plugin does is read
// FIFOs, write files of its own and make HTTPS requests. It must not know why anything is kept.
//
// Capabilities belong to threads, and the Go runtime starts threads as it likes. So the calls here
// are made on all threads at once, which the runtime can do only in a program built without cgo.
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

// Set is a set of capabilities: bit n is capability n of capabilities(7).
type Set uint64

// Of returns the set of these capabilities, given as unix.CAP_….
func Of(caps ...int) Set {
	var s Set
	for _, c := range caps {
		s |= 1 << c
	}
	return s
}

// String lists the names: "CAP_KILL CAP_CHOWN", and "none" for the empty set.
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

// Drop gives up, on every thread and for good, every capability but keep: from the permitted,
// effective, inheritable, ambient and bounding sets, where those of keep stay permitted and
// effective alone. It also sets no_new_privs, so that no program that might be executed gets any
// back. It returns what was given up, which is nothing where there was nothing: an ordinary user
// may call it. After an error some may be left.
//
// It must be called once, early, in a program built with CGO_ENABLED=0; otherwise it returns an
// error that is errors.ErrUnsupported and changes nothing.
func Drop(keep Set) (dropped Set, err error) {
	_, had, err := capget()
	if err != nil {
		return 0, err
	}
	if err := onAllThreads("set no_new_privs", syscall.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return 0, err
	}
	// The bounding set first: emptying it takes CAP_SETPCAP. Who lacks that lacks, with no_new_privs,
	// the use of the bounding set too.
	if had&Of(unix.CAP_SETPCAP) != 0 {
		if err := dropBounding(); err != nil {
			return 0, err
		}
	}
	// What is not inheritable is not ambient either: emptying the one set empties the other.
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
			return nil // past the last one that this kernel knows
		}
		if err != nil {
			return fmt.Errorf("couldn't read the bounding set: %w", err)
		}
		if in == 1 {
			if err := onAllThreads("drop "+Of(c).String()+" from the bounding set", syscall.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c), 0); err != nil {
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

// capget returns the calling thread's effective and permitted sets. All threads have the same ones
// until somebody changes them for one thread alone.
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
