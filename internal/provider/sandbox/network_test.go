package sandbox_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/gatetest/greeter"
	"github.com/gozer-ci/gozer/internal/provider/sandbox"
	confine "github.com/gozer-ci/gozer/internal/sandbox"
)

// say defines serve FAMILY HOST PORT TEXT, which listens and answers with TEXT until the session ends, and
// ask FAMILY HOST PORT; an empty port is a socket without a file.
const say = `cat > /tmp/net.py <<'EOF'
import errno, socket, sys
what, family, host, port = sys.argv[1:5]
s = socket.socket(getattr(socket, "AF_" + family))
at = "\0" + host if family == "UNIX" else (host, int(port))
try:
    if what == "serve":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.argv[6:] == ["only6"]:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind(at)
        s.listen(5)
        print("listening", flush=True)
        while True:
            c, _ = s.accept()
            c.sendall(sys.argv[5].encode())
            c.close()
    if int(port) % 2:
        s.settimeout(60) # which makes it one that does not block
    s.connect(at)
    print(s.recv(50).decode())
except OSError as e:
    print(errno.errorcode.get(e.errno, e))
EOF
serve() { python3 /tmp/net.py serve "$@" > /tmp/served 2>&1 & for i in $(seq 2400); do grep -q . /tmp/served && break; sleep 0.05; done; cat /tmp/served; : > /tmp/served; }
ask() { python3 /tmp/net.py ask "$@"; }
`

func TestNodesHaveNetworksOfTheirOwn(t *testing.T) {
	listen := func(address string) int { return greeter.Listen(t, "tcp", address, "the host").Port }
	here, everywhere, proxy := listen("127.0.0.1:0"), listen("0.0.0.0:0"), listen("127.0.0.1:0")
	six := here
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil { // a machine may have no IPv6
		_ = l.Close()
		six = listen("[::1]:0")
	}
	abstract := fmt.Sprint("gozer-node-test-", os.Getpid())
	greeter.Listen(t, "unix", "@"+abstract, "the host")
	own := "" // an address of this machine beside the loopback, where it has one
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			own = p.Addr().String()
		}
	}
	signer, key := newKey(t)
	p := open(t, sandbox.Config{Labels: []sandbox.Label{{Name: "small"}}, Denied: confine.Denied{Networks: confine.Metadata},
		Reach: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(proxy))}})
	a, b := create(t, p, "a", "small", key), create(t, p, "b", "small", key)
	inA, inB := dial(t, a.Access, "zuul", signer), dial(t, b.Access, "zuul", signer)

	for to, want := range map[string]string{
		fmt.Sprint("INET 127.0.0.1 ", here):                    "ECONNREFUSED",
		fmt.Sprint("INET 127.0.0.1 ", everywhere):              "ECONNREFUSED",
		fmt.Sprint("INET 0.0.0.0 ", here):                      "ECONNREFUSED",
		fmt.Sprint("INET 127.9.9.9 ", everywhere):              "ECONNREFUSED",
		fmt.Sprint("INET ", a.Access.Host, " ", everywhere):    "ECONNREFUSED",
		fmt.Sprint("INET ", b.Access.Host, " ", everywhere):    "ECONNREFUSED",
		fmt.Sprint("INET ", own, " ", everywhere):              "ECONNREFUSED",
		fmt.Sprint("INET6 ::1 ", six):                          "ECONNREFUSED",
		fmt.Sprint("INET6 ::ffff:127.0.0.1 ", here):            "ECONNREFUSED",
		fmt.Sprint("INET 127.0.0.1 ", proxy):                   "the host",
		"INET 169.254.169.254 80":                              "EACCES",
		"UNIX " + abstract + " 0":                              "ECONNREFUSED",
		fmt.Sprint("INET ", b.Access.Host, " ", b.Access.Port): "SSH-2.0-Gozer",
	} {
		if strings.HasPrefix(to, "INET  ") {
			continue
		}
		if got := mustRun(t, inA, say+"ask "+to); strings.TrimSpace(got) != want {
			t.Errorf("a connects to %s: %q, want %q", to, got, want)
		}
	}

	// Each its own service on the same port, and on one that is taken on the host's loopback, under whatever address.
	for i, c := range []struct{ listen, ask string }{
		{"INET 0.0.0.0 8099", "INET 127.0.0.1 8099"},
		{"INET 127.0.0.1 8100", "INET6 ::1 8100"},
		{"INET6 :: 8101", "INET 127.0.0.1 8101"},
		{"INET6 ::1 8102", "INET6 ::1 8102"},
		{fmt.Sprint("INET 0.0.0.0 ", here), fmt.Sprint("INET 127.0.0.1 ", here)},
		{fmt.Sprint("INET ", own, " 8103"), fmt.Sprint("INET ", own, " 8103")},
		{"INET localhost 80", "INET 127.0.0.1 80"},
		{"UNIX mine 0", "UNIX mine 0"},
	} {
		if strings.HasSuffix(c.listen, " 80") && os.Geteuid() != 0 {
			continue
		}
		if strings.HasPrefix(c.listen, "INET  ") {
			continue
		}
		ask := fmt.Sprintf("%sserve %s NAME%d\nask %s\nkill %%1", say, c.listen, i, c.ask)
		for name, at := range map[string]string{"a": mustRun(t, inA, strings.Replace(ask, "NAME", "a", 1)), "b": mustRun(t, inB, strings.Replace(ask, "NAME", "b", 1))} {
			if want := fmt.Sprintf("listening\n%s%d", name, i); at != want {
				t.Errorf("%s serves %s: %q, want %q", name, c.listen, at, want)
			}
		}
	}

	// A service of a node is there for its neighbours and for the host, which know its address; nobody
	// takes another's.
	s, err := inB.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Start(say + "serve INET 0.0.0.0 8110 from-b\nserve INET6 :: 8110 none only6\nwait"); err != nil {
		t.Fatal(err)
	}
	got := mustRun(t, inA, say+"for i in $(seq 600); do x=$(ask INET "+b.Access.Host+" 8110); [ \"$x\" = from-b ] && break; sleep 0.1; done; echo $x\nserve INET "+b.Access.Host+" 8111 me")
	if got != "from-b\nEADDRNOTAVAIL" {
		t.Errorf("a asks b: %q", got)
	}
	// One that listens for a single connection may be gone before anybody looks again.
	if got := mustRun(t, inA, "for i in $(seq 30); do (python3 -c 'import socket; s = socket.create_server((\"\", 8120)); c, _ = s.accept(); s.close(); c.sendall(b\"x\")' &)\n"+
		"python3 -c 'import socket, time\nfor i in range(6000):\n  try: print(socket.create_connection((\"localhost\", 8120)).recv(1).decode(), end=\"\"); break\n  except ConnectionRefusedError: time.sleep(0.02)'; done"); got != strings.Repeat("x", 30) {
		t.Errorf("of services for one connection: %q", got)
	}
	c, err := net.Dial("tcp", net.JoinHostPort(b.Access.Host, "8110"))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got := mustRun(t, inA, "cat /etc/resolv.conf | head -1; getent hosts localhost | head -1"); !strings.HasPrefix(got, "# Gozer: as on the host\n") {
		t.Errorf("names: %q", got)
	}
}
