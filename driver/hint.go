package driver

import (
	"errors"
	"syscall"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/spool"
)

const (
	hintDiskFull = "free space on the disk that has the state directory, or lower SPOOL_TOTAL_SIZE; the plugin goes on by itself"
	hintDisk     = "check the disk that has the state directory, and the kernel's log (dmesg); the plugin tries again by itself"
	hintFiles    = "raise dockerd's limit of open files (LimitNOFILE in its systemd unit) and restart dockerd"
	hintFIFO     = "check the kernel's log (dmesg); if this lasts, restart the container"
)

// diskHint says what the operator can do about an error of the disk.
func diskHint(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return hintDiskFull
	case noDescriptor(err):
		return hintFiles
	}
	return hintDisk
}

// fifoHint says what the operator can do about a FIFO that cannot be read.
func fifoHint(err error) string {
	if noDescriptor(err) {
		return hintFiles
	}
	return hintFIFO
}

// lossHint says what the operator can do about a loss that the spool or the feed has found. It
// is empty if the operator can do nothing.
func lossHint(reason string) string {
	switch reason {
	case spool.Full.String():
		return hintSpoolFull
	case spool.Unwritable.String(), spool.Damaged.String():
		return hintDisk
	case spool.Unreadable.String():
		return "something wrote data to the container's FIFO that is not a log entry; if it goes on, report it"
	case events.Unprocessable.String():
		return "report the panic in the plugin's log; the lines are in poison in the state directory"
	}
	return ""
}
