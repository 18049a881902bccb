// Package wire stands between a client and a server on loopback, so that a test can cut the connection, or make it
// slow, without touching either end.
package wire

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Wire is the way to one server.
type Wire struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	cut   bool
	delay time.Duration
	conns []net.Conn
}

// New listens for clients, until the end of the test, and connects each to the server at address to.
func New(t testing.TB, to string) *Wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{listener: l, to: to}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			w.join(in, &open)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.Cut(true)
		open.Wait()
	})
	return w
}

// Addr is where clients connect.
func (w *Wire) Addr() string { return w.listener.Addr().String() }

// join connects a client, if the wire is whole and the server there.
func (w *Wire) join(in net.Conn, open *sync.WaitGroup) {
	out, err := net.Dial("tcp", w.to)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil || w.cut {
		_ = in.Close()
		if out != nil {
			_ = out.Close()
		}
		return
	}
	w.conns = append(w.conns, in, out)
	open.Go(func() { w.carry(out, in) })
	open.Go(func() { w.carry(in, out) })
}

// carry copies until an end is closed, and closes the other.
func (w *Wire) carry(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		delay := w.delay
		w.mu.Unlock()
		time.Sleep(delay)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Cut ends all connections and lets no new one through, or, with false, lets them through again.
func (w *Wire) Cut(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = yes
	if yes {
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.conns = nil
	}
}

// Delay has everything that goes over the wire take so long, each piece in each direction.
func (w *Wire) Delay(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = d
}
