package uploader

import (
	"testing"

	"github.com/logspool/logspool/events"
)

// TestLongestMessageIsWhatFeedsDivideAt: a feed that was not told a limit divides events at
// the length of the longest message.
func TestLongestMessageIsWhatFeedsDivideAt(t *testing.T) {
	if events.MaxBytes != maxMessageBytes {
		t.Errorf("events.MaxBytes is %d, but maxMessageBytes in limits.go is %d", events.MaxBytes, maxMessageBytes)
	}
}
