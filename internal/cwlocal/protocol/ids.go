package protocol

import (
	"crypto/rand"
	"fmt"
	"strings"
)

// AccountID is the account that owns everything in the stand-in. It is part of each ARN.
const AccountID = "123456789012"

// GroupARN returns the ARN of a log group, without the :* at the end that some calls use.
func GroupARN(region, group string) string {
	return "arn:aws:logs:" + region + ":" + AccountID + ":log-group:" + group
}

// GroupOfARN returns the name of the group that an ARN of this account and the region
// names, with or without :* at its end.
func GroupOfARN(region, arn string) (name string, ok bool) {
	name, ok = strings.CutPrefix(arn, GroupARN(region, ""))
	return strings.TrimSuffix(name, ":*"), ok
}

// SequenceToken returns the nth sequence token: 56 digits, as the service's are.
func SequenceToken(n uint64) string { return fmt.Sprintf("4%055d", n) }

// newRequestID returns a UUID of version 4, as the service's are.
func newRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
