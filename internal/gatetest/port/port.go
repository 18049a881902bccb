// Package port gives tests addresses for servers that have to know where they listen before they do, or that come
// back where they were. A port that was merely free a moment ago may be somebody else's by then: the kernel gives it
// to the next connection or listener that asks for any. Those of this package are outside the range from which the
// kernel takes, and no two tests of this machine have the same one at a time, whatever package or process they are in.
package port

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// first is above what servers usually have.
const first = 10_000

// Own gives an address of loopback, "127.0.0.1:12345", on which nobody listens: it is the test's until its end.
func Own(t testing.TB) string {
	t.Helper()
	low, high := kernels()
	last := low - 1
	if last-first < 1000 {
		low, last = high+1, 65_535
	} else {
		low = first
	}
	if last-low < 1000 {
		t.Fatalf("the kernel gives all ports from %d to %d away (net.ipv4.ip_local_port_range): tests need some of their own", first, high)
	}
	n := last - low + 1
	for i, begin := 0, rand.IntN(n); i < n; i++ {
		port := low + (begin+i)%n
		if !reserve(t, port) {
			continue
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatalf("no port from %d to %d is free", low, last)
	return ""
}

// kernels is the range of ports that the kernel gives to whoever asks for any.
func kernels() (low, high int) {
	low, high = 32_768, 60_999
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &low, &high)
	}
	return low, high
}

// reserve takes a port among all tests of this user; the kernel gives it back if the test's process dies. One file is
// for all ports: each has a byte of it.
func reserve(t testing.TB, port int) bool {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprintf("gozer-test-ports-%d", os.Getuid())), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(port), Len: 1}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		_ = f.Close()
		return false
	}
	t.Cleanup(func() { _ = f.Close() })
	return true
}
