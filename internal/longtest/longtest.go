// Package longtest skips the long tests in `go test ./...`. `make test-long` runs only them.
package longtest

import (
	"os"
	"strings"
	"testing"
)

const (
	// Prefix is the beginning of the name of each long test. scripts/test finds the tests by it.
	Prefix = "TestLong_"
	// Variable is the environment variable that enables the long tests.
	Variable = "LOGSPOOL_LONG"
)

// Skip skips a long test unless the environment has LOGSPOOL_LONG=1. It must be the first
// statement of the test.
func Skip(t testing.TB) {
	t.Helper()
	if !strings.HasPrefix(t.Name(), Prefix) {
		t.Fatalf("%s calls longtest.Skip, so its name must begin with %s: make test-long looks for that", t.Name(), Prefix)
	}
	switch long := os.Getenv(Variable); long {
	case "1":
	case "":
		t.Skipf("a long test: run it with %s=1, or all of them with make test-long", Variable)
	default:
		t.Fatalf("%s=%q: only 1 is allowed", Variable, long)
	}
}
