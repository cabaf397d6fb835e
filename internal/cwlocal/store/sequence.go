package store

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// maxSequence bounds the numbers that are checked, and so the memory that one number can
// take: 128 MiB.
const maxSequence = 1 << 30

// SequenceStats describe how the sequence numbers of one writer arrived in one stream. The
// numbers start at 0 or 1.
type SequenceStats struct {
	Writer  string `json:"writer"`
	Highest uint64 `json:"highest"`
	// Missing counts the numbers up to Highest that did not arrive.
	Missing uint64 `json:"missing"`
	// Doubled counts the events with a number that had arrived before.
	Doubled uint64 `json:"doubled"`
	// Backwards counts the events with a new number that arrived after a higher number.
	Backwards uint64 `json:"backwards"`
}

// sequence is the state behind SequenceStats.
type sequence struct {
	stats SequenceStats
	seen  []uint64 // seen has one bit per number.
}

func (s *sequence) add(n uint64) {
	word, bit := n/64, uint64(1)<<(n%64)
	if word >= uint64(len(s.seen)) {
		s.seen = slices.Grow(s.seen, int(word)+1-len(s.seen))[:word+1]
	}
	switch {
	case s.seen[word]&bit != 0:
		s.stats.Doubled++
	case n < s.stats.Highest:
		s.stats.Backwards++
	}
	s.seen[word] |= bit
	s.stats.Highest = max(s.stats.Highest, n)
}

func (s *sequence) result() SequenceStats {
	st := s.stats
	have := uint64(0)
	for _, w := range s.seen {
		have += uint64(bits.OnesCount64(w))
	}
	total := st.Highest + 1
	if len(s.seen) > 0 && s.seen[0]&1 == 0 {
		total-- // it started at 1
	}
	st.Missing = total - have
	return st
}

// MarkedSequence is an Options.Sequence for messages that contain seq=WRITER:N, such as
// seq=web-3:1200.
func MarkedSequence(message string) (writer string, n uint64, ok bool) {
	_, rest, ok := strings.Cut(message, "seq=")
	if !ok {
		return "", 0, false
	}
	writer, rest, ok = strings.Cut(rest, ":")
	if !ok {
		return "", 0, false
	}
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	n, err := strconv.ParseUint(rest[:digits], 10, 64)
	return writer, n, err == nil && !strings.ContainsAny(writer, " \t\n")
}
