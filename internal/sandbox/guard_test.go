package sandbox

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/gatetest/greeter"
)

func TestDenied(t *testing.T) {
	d := Denied{Networks: Metadata, Services: []netip.AddrPort{
		netip.MustParseAddrPort("127.0.0.1:2379"), netip.MustParseAddrPort("0.0.0.0:9000"), netip.MustParseAddrPort("10.0.0.5:5432")}}
	own := func() []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fe80::1%eth0")}
	}
	for to, want := range map[string]bool{
		"169.254.169.254:80": true, "[::ffff:169.254.169.254]:80": true, "[64:ff9b::a9fe:a9fe]:80": true, "[fd00:ec2::254]:80": true,
		"169.254.169.254:53": false, "100.100.100.200:80": true, "100.100.100.201:80": false,
		"127.0.0.1:2379": true, "0.0.0.0:2379": true, "[::1]:2379": true, "127.0.0.9:2379": true, "127.0.0.1:2380": false, "10.0.0.9:2379": false,
		"10.0.0.9:9000": true, "127.0.0.1:9000": true, "[fe80::1%eth0]:9000": true, "10.0.0.8:9000": false,
		"10.0.0.5:5432": true, "10.0.0.5:22": false, "93.184.216.34:443": false,
	} {
		if got := d.refuses(netip.MustParseAddrPort(to), own); got != want {
			t.Errorf("%s: refused %t, want %t", to, got, want)
		}
	}
}

// client connects in every way that programs do, and says what came of each.
const client = `
import errno, os, socket, sys, threading
def said(name, f):
    try:
        print(name, "reached", f())
    except OSError as e:
        print(name, errno.errorcode.get(e.errno, e))
def tcp(port, timeout=None, family=socket.AF_INET, host="127.0.0.1"):
    s = socket.socket(family)
    s.settimeout(timeout)
    s.connect((host, port))
    return s.recv(5).decode()
good, bad = int(sys.argv[1]), int(sys.argv[2])
said("blocking", lambda: tcp(good))
said("patient", lambda: tcp(good, 60))
said("forbidden", lambda: tcp(bad))
said("forbidden-patient", lambda: tcp(bad, 60))
said("mapped", lambda: tcp(bad, 60, socket.AF_INET6, "::ffff:127.0.0.1"))
said("anywhere", lambda: tcp(bad, 60, socket.AF_INET, "0.0.0.0"))
said("closed", lambda: tcp(1))
said("metadata", lambda: tcp(80, 60, socket.AF_INET, "169.254.169.254"))
def fast():
    s = socket.socket()
    s.sendto(b"x", 0x20000000, ("127.0.0.1", bad))
    return s.recv(5)
said("fastopen", fast)
def unix(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s.recv(5).decode()
l = socket.socket(socket.AF_UNIX)
l.bind("here"); l.listen(5)
def serve():
    while True:
        c, _ = l.accept(); c.sendall(b"local"); c.close()
threading.Thread(target=serve, daemon=True).start()
said("unix", lambda: unix("here"))
said("unix-absolute", lambda: unix(os.path.abspath("here")))
said("unix-missing", lambda: unix("/nowhere"))
said("abstract", lambda: unix("\0" + sys.argv[3]))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
said("udp", lambda: (u.connect(("127.0.0.1", 9)), "yes")[1])
print("flags", socket.socket().getblocking())
`

func TestConnectsAreGuarded(t *testing.T) {
	good, bad := greeter.Listen(t, "tcp", "127.0.0.1:0", "hello"), greeter.Listen(t, "tcp", "127.0.0.1:0", "hello")
	abstract := fmt.Sprint("gozer-guard-test-", os.Getpid())
	greeter.Listen(t, "unix", "@"+abstract, "hello")
	s, err := New(t.Context(), Config{Denied: Denied{Networks: Metadata, Services: []netip.AddrPort{bad.AddrPort()}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	work := t.TempDir()
	out, code := sh(t, s, Box{Home: work, Writable: []Bind{{Path: work}}}, "exec python3 -c '"+client+"' "+portOf(good)+" "+portOf(bad)+" "+abstract)
	if code != 0 {
		t.Fatalf("code %d:\n%s", code, out)
	}
	want := map[string]string{"blocking": "reached hello", "patient": "reached hello", "forbidden": "EACCES", "forbidden-patient": "EACCES", "mapped": "EACCES",
		"anywhere": "EACCES", "closed": "ECONNREFUSED", "metadata": "EACCES", "fastopen": "ENOTSUP", "unix": "reached local", "unix-absolute": "reached local",
		"unix-missing": "ENOENT", "abstract": "ECONNREFUSED", "udp": "reached yes", "flags": "True"}
	for line := range strings.Lines(out) {
		name, got, _ := strings.Cut(strings.TrimSpace(line), " ")
		if want[name] != got {
			t.Errorf("%s: %q, want %q", name, got, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("not tried: %v\n%s", want, out)
	}
}

// A command that was started before it is sandboxed is guarded as well.
func TestSpawnedCommandsAreGuarded(t *testing.T) {
	bad := greeter.Listen(t, "tcp", "127.0.0.1:0", "hello")
	s, err := New(t.Context(), Config{Denied: Denied{Services: []netip.AddrPort{bad.AddrPort()}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	cmd := exec.CommandContext(t.Context(), "python3", "-c", "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])))", portOf(bad))
	out := &tail{}
	cmd.Stderr = out
	if err := s.Spawn(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), "PermissionError") {
		t.Errorf("%v: %s", err, out)
	}
}

func portOf(a *net.TCPAddr) string {
	_, p, _ := net.SplitHostPort(a.String())
	return p
}

// BenchmarkConnect is one connect to a local service, guarded and not.
func BenchmarkConnect(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	a, _ := l.Addr().(*net.TCPAddr)
	const script = `
import socket, sys, time
n = 2000
t = time.perf_counter()
for _ in range(n):
    socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close()
print((time.perf_counter() - t) / n * 1e6)
`
	for name, d := range map[string]Denied{"guarded": {Networks: Metadata}, "free": {}} {
		b.Run(name, func(b *testing.B) {
			s, err := New(b.Context(), Config{Denied: d})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			for range b.N {
				out := &tail{}
				p, err := s.Start(b.Context(), Box{Home: filepath.Clean("/tmp")}, Command{Args: []string{"python3", "-c", script, portOf(a)}, Env: []string{"PATH=/usr/bin:/bin"}, Stdout: out})
				if err != nil {
					b.Fatal(err)
				}
				if code, err := p.Wait(); code != 0 || err != nil {
					b.Fatal(code, err)
				}
				b.Log(name, "µs a connect:", out)
			}
		})
	}
}
