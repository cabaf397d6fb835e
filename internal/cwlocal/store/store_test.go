package store

import (
	"maps"
	"slices"
	"testing"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

func TestStoreHasEveryOperationOfTheProtocol(t *testing.T) {
	have, want := slices.Sorted(maps.Keys(operations)), slices.Sorted(slices.Values(protocol.Operations()))
	if !slices.Equal(have, want) {
		t.Errorf("operations are %v, want %v", have, want)
	}
}
