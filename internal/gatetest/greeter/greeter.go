// Package greeter is a service of this machine for tests that look at who can connect to it.
package greeter

import (
	"net"
	"testing"
)

// Listen listens until the end of the test, and says a word to everybody who connects, on TCP or on a socket without
// a file ("@name"). For TCP it gives the address.
func Listen(t testing.TB, network, address, word string) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(word)) // who hung up hears nothing
			_ = c.Close()
		}
	}()
	a, _ := l.Addr().(*net.TCPAddr)
	return a
}
