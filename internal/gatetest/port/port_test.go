package port_test

import (
	"net"
	"testing"

	"github.com/gozer-ci/gozer/internal/gatetest/port"
)

func TestNoTwoTestsHaveTheSame(t *testing.T) {
	seen := map[string]bool{}
	for range 300 {
		addr := port.Own(t)
		if seen[addr] {
			t.Fatalf("%s was given away twice", addr)
		}
		seen[addr] = true
	}
	// What the kernel gives away is never among them.
	for range 300 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if seen[l.Addr().String()] {
			t.Errorf("%s is a test's, and the kernel gave it to somebody else", l.Addr())
		}
	}
}
