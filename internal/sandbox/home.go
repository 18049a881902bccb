package sandbox

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Home is an address on this machine's loopback that commands have for their own, in the place of every
// address of this machine: what they listen on is at Home, and what they connect to on this machine is what
// was listened on there. So two of them can use the same port, and neither finds what else listens on the
// machine. It holds for TCP and for local sockets without a file; UDP is the machine's.
type Home struct {
	// Addr is an IPv4 address; zero: there is no home.
	Addr netip.Addr
	// Neighbours are homes of others, which can be connected to.
	Neighbours netip.Prefix
	// Reach are services of this machine that can be connected to all the same.
	Reach []netip.AddrPort
}

// target is where a connect to an address of this machine shall go; not ours: it is none, or is to be
// connected to as it stands.
func (h *Home) target(socket int, to netip.AddrPort) (at netip.AddrPort, ours bool) {
	if !h.Addr.IsValid() || !isStream(socket) {
		return at, false
	}
	ip := plainAddr(to.Addr())
	switch {
	case slices.Contains(h.Reach, netip.AddrPortFrom(ip, to.Port())):
		return at, false
	case h.Neighbours.Contains(ip):
		return netip.AddrPortFrom(ip, to.Port()), true
	case !isOwn(ip):
		return at, false
	}
	at = netip.AddrPortFrom(h.Addr, to.Port())
	if to.Port() == 53 {
		if exactly, _ := listeners(at); !exactly {
			return at, false // the machine's resolver
		}
	}
	return at, true
}

// isOwn tells whether an address leads to this machine.
func isOwn(ip netip.Addr) bool {
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	return slices.ContainsFunc(ownAddrs(), func(a netip.Addr) bool { return plainAddr(a) == ip })
}

func isStream(socket int) bool {
	kind, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_STREAM
}

func onlyV6(socket int) bool {
	v, err := unix.GetsockoptInt(socket, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	return err == nil && v != 0
}

// connectHome connects to a home if somebody listens on exactly that address. Who listens on all addresses of this
// machine is somebody else; the kernel lets nobody listen on one of them meanwhile.
func (g *guard) connectHome(ctx context.Context, socket int, raw []byte, at netip.AddrPort) error {
	family := binary.NativeEndian.Uint16(raw)
	if exactly, anywhere := listeners(at); !exactly || anywhere || family == unix.AF_INET6 && onlyV6(socket) {
		return unix.ECONNREFUSED
	}
	return connectPatiently(ctx, socket, sockaddr(family, at), asOurselves)
}

// bind gives a socket its address: one of this machine's becomes home.
func (g *guard) bind(socket int, raw []byte) error {
	family := binary.NativeEndian.Uint16(raw)
	switch family {
	case unix.AF_INET, unix.AF_INET6:
	case unix.AF_UNIX:
		if name, ok := g.home.abstract(raw); ok {
			return bindNow(socket, name)
		}
		return errGoOn
	default:
		return errGoOn
	}
	at, ok := inetAddr(raw)
	if !ok || !isStream(socket) {
		return errGoOn
	}
	ip := plainAddr(at.Addr())
	if ip != g.home.Addr && (g.home.Neighbours.Contains(ip) || !isOwn(ip)) {
		return unix.EADDRNOTAVAIL
	}
	if family == unix.AF_INET6 && onlyV6(socket) {
		// Its twin for IPv4, which nearly all have, is the one that is connected to.
		return bindNow(socket, sockaddr(family, netip.AddrPortFrom(netip.IPv6Loopback(), 0)))
	}
	return bindNow(socket, sockaddr(family, netip.AddrPortFrom(g.home.Addr, at.Port())))
}

func bindNow(socket int, at []byte) error {
	if _, _, errno := unix.Syscall(unix.SYS_BIND, uintptr(socket), uintptr(unsafe.Pointer(&at[0])), uintptr(len(at))); errno != 0 {
		return errno
	}
	return nil
}

// sockaddr is an address as the kernel has it, for a socket of the family.
func sockaddr(family uint16, a netip.AddrPort) []byte {
	out := binary.NativeEndian.AppendUint16(nil, family)
	out = binary.BigEndian.AppendUint16(out, a.Port())
	if family == unix.AF_INET {
		ip := a.Addr().Unmap().As4()
		return append(append(out, ip[:]...), make([]byte, 8)...)
	}
	ip := a.Addr().As16()
	out = append(out, 0, 0, 0, 0)
	return append(append(out, ip[:]...), 0, 0, 0, 0)
}

// abstract is the name of a local socket without a file, among those of the home alone; not ok, where the
// address is another one or there is no home.
func (h *Home) abstract(raw []byte) (name []byte, ok bool) {
	if !h.Addr.IsValid() || len(raw) < 4 || raw[2] != 0 {
		return nil, false
	}
	sum := sha256.Sum256(raw[3:])
	return append(binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX), "\x00gozer/"+h.Addr.String()+"/"+hex.EncodeToString(sum[:16])...), true
}

// listeners tells whether somebody listens on TCP at exactly this IPv4 address and port, and whether somebody does
// at that port of all addresses.
func listeners(a netip.AddrPort) (exactly, anywhere bool) {
	ip, port := a.Addr().As4(), fmt.Sprintf(":%04X", a.Port())
	v4 := fmt.Sprintf("%08X", binary.NativeEndian.Uint32(ip[:]))
	listed("/proc/self/net/tcp", func(at string) {
		exactly = exactly || at == v4+port
		anywhere = anywhere || at == "00000000"+port
	})
	listed("/proc/self/net/tcp6", func(at string) {
		exactly = exactly || at == mapped+v4+port
		anywhere = anywhere || at == mapped+"00000000"+port || at == strings.Repeat("0", 32)+port
	})
	return exactly, anywhere
}

// mapped is how /proc writes the beginning of an IPv4 address in an IPv6 one.
var mapped = fmt.Sprintf("%08X%08X%08X", 0, 0, binary.NativeEndian.Uint32([]byte{0, 0, 255, 255}))

// listed tells of the listeners in a table of the kernel's, which has all of them first.
func listed(table string, tell func(at string)) {
	f, err := os.Open(table)
	if err != nil {
		return
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Scan() // the heading
	for in.Scan() {
		fields := strings.Fields(in.Text())
		if len(fields) < 4 || fields[3] != "0A" {
			return
		}
		tell(fields[1])
	}
}
