package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Metadata are the addresses at which clouds tell a machine its own secrets. DNS is served at some of
// them, and stays reachable.
var Metadata = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fd00:ec2::/32"), netip.MustParsePrefix("fd20:ce::/32"),
	netip.MustParsePrefix("100.100.100.200/32"), netip.MustParsePrefix("192.0.0.192/32"), netip.MustParsePrefix("168.63.129.16/32"),
}

// Denied says where sandboxed commands cannot connect to, although they use this machine's network.
type Denied struct {
	// Networks, but for their DNS.
	Networks []netip.Prefix
	// Services of this or other machines. An unspecified address is every address of this machine.
	Services []netip.AddrPort
}

// refuses tells whether a connect to a is against the rules. own are the addresses of this machine.
func (d *Denied) refuses(a netip.AddrPort, own func() []netip.Addr) bool {
	ip := plainAddr(a.Addr())
	for _, n := range d.Networks {
		if n.Contains(ip) && a.Port() != 53 {
			return true
		}
	}
	local := ip.IsLoopback() || ip.IsUnspecified()
	for _, s := range d.Services {
		if s.Port() != a.Port() {
			continue
		}
		switch at := plainAddr(s.Addr()); {
		case at == ip, local && (at.IsLoopback() || at.IsUnspecified()):
			return true
		case at.IsUnspecified():
			for _, o := range own() {
				if plainAddr(o) == ip {
					return true
				}
			}
		}
	}
	return false
}

// nat64 is how IPv6 networks reach IPv4 addresses.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// plainAddr is an address without a zone, and the IPv4 address in it where there is one.
func plainAddr(a netip.Addr) netip.Addr {
	a = a.WithZone("").Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}

func ownAddrs() (out []netip.Addr) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, x := range all {
		if p, err := netip.ParsePrefix(x.String()); err == nil {
			out = append(out, p.Addr())
		}
	}
	return out
}

// guard answers the connects of all sandboxed processes: it makes the allowed ones itself, on the
// caller's socket, to the address that it has looked at. So it does not matter what other threads of the
// caller do to the address meanwhile.
type guard struct {
	listener *os.File
	denied   Denied
	home     Home
	log      *slog.Logger
	wg       sync.WaitGroup
}

// serve answers until end can be read. Nobody may be asking any more then.
func (g *guard) serve(ctx context.Context, end *os.File) {
	defer g.wg.Wait()
	fd := int(g.listener.Fd())
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(end.Fd()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, -1)
		if fds[1].Revents != 0 {
			return
		}
		if n <= 0 || errors.Is(err, unix.EINTR) {
			continue
		}
		var q notification
		if err := ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&q)); err != nil {
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) {
				continue // who asked is gone
			}
			g.log.Error("connections of sandboxes cannot be judged any more; all will fail", "error", err)
			return
		}
		g.wg.Go(func() {
			a := answer{id: q.id}
			err := g.judge(ctx, &q)
			switch {
			case errors.Is(err, errGoOn):
				a.flags = goOn
			case err != nil:
				a.err = -int32(errnoOf(err))
			}
			_ = ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a)) // nobody waits any more
		})
	}
}

// errnoOf is what the caller gets to see.
func errnoOf(err error) unix.Errno {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return unix.EACCES
}

// valid tells whether the asking thread still waits, so that its number is not somebody else's by now.
func (g *guard) valid(q *notification) error {
	return ioctl(int(g.listener.Fd()), unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&q.id))
}

// errGoOn: the kernel may carry out what was asked for.
var errGoOn = errors.New("go on")

// judge does what the caller asked for, if it may be.
func (g *guard) judge(ctx context.Context, q *notification) error {
	raw, err := readMemory(int(q.pid), q.args[1], int(min(q.args[2], 128)))
	if err != nil {
		return err
	}
	socket, err := takeFile(int(q.pid), int(q.args[0]))
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	if err := g.valid(q); err != nil {
		return err
	}
	if len(raw) < 2 {
		return unix.EINVAL
	}
	if q.nr == unix.SYS_BIND {
		return g.bind(socket, raw)
	}
	return g.connect(ctx, q, socket, raw)
}

func (g *guard) connect(ctx context.Context, q *notification, socket int, raw []byte) error {
	switch binary.NativeEndian.Uint16(raw) {
	case unix.AF_INET, unix.AF_INET6:
		to, ok := inetAddr(raw)
		if !ok {
			return unix.EINVAL
		}
		if at, ours := g.home.target(socket, to); ours {
			return g.connectHome(ctx, socket, raw, at)
		}
		if g.denied.refuses(to, ownAddrs) {
			g.log.Warn("a sandboxed command was kept from connecting", "to", to, "pid", q.pid)
			return unix.EACCES
		}
	case unix.AF_UNIX:
		return g.connectUnix(ctx, q, socket, raw)
	case unix.AF_UNSPEC, unix.AF_NETLINK:
	default:
		return unix.EACCES // a hypervisor's sockets, and what else reaches out of this machine
	}
	return connectPatiently(ctx, socket, raw, asOurselves)
}

func inetAddr(raw []byte) (netip.AddrPort, bool) {
	switch {
	case len(raw) >= 8 && binary.NativeEndian.Uint16(raw) == unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[4:8])), binary.BigEndian.Uint16(raw[2:])), true
	case len(raw) >= 24:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(raw[8:24])), binary.BigEndian.Uint16(raw[2:])), true
	}
	return netip.AddrPort{}, false
}

// connectUnix connects to a socket in the caller's own files. Sockets without a file belong to the
// network, which is this machine's: they are not for sandboxes, but for those that have a home.
func (g *guard) connectUnix(ctx context.Context, q *notification, socket int, raw []byte) error {
	path, _, _ := strings.Cut(string(raw[2:]), "\x00")
	if path == "" {
		if name, ok := g.home.abstract(raw); ok {
			return connectPatiently(ctx, socket, name, asOurselves)
		}
		return unix.ECONNREFUSED
	}
	base := "/proc/" + strconv.Itoa(int(q.pid)) + "/root"
	if !filepath.IsAbs(path) {
		base = "/proc/" + strconv.Itoa(int(q.pid)) + "/cwd"
	}
	file, err := openBelow(base, path)
	if err != nil {
		return err
	}
	defer unix.Close(file)
	who, err := callerOf(int(q.pid))
	if err != nil {
		return err
	}
	if err := g.valid(q); err != nil {
		return err
	}
	short := append(binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX), fmt.Sprintf("/proc/self/fd/%d\x00", file)...)
	return connectPatiently(ctx, socket, short, who.do)
}

// openBelow finds a file as a process would that has base as its root.
func openBelow(base, path string) (int, error) {
	dir, err := unix.Open(base, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if filepath.IsAbs(path) {
		how.Resolve |= unix.RESOLVE_IN_ROOT
	}
	return unix.Openat2(dir, path, &how)
}

// readMemory reads what a pointer of another process points to.
func readMemory(pid int, at uint64, n int) ([]byte, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/mem")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, n)
	got, err := f.ReadAt(buf, int64(at))
	if got < n {
		return nil, fmt.Errorf("read an address: %w: %w", err, unix.EFAULT)
	}
	return buf, nil
}

// takeFile is a descriptor of our own for an open file of another process.
func takeFile(tid, fd int) (int, error) {
	leader, err := threadGroup(tid)
	if err != nil {
		return -1, err
	}
	p, err := unix.PidfdOpen(leader, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(p)
	return unix.PidfdGetfd(p, fd, 0)
}

func threadGroup(tid int) (int, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "Tgid:"); ok {
			return strconv.Atoi(strings.TrimSpace(v))
		}
	}
	return 0, fmt.Errorf("thread %d has no process: %w", tid, unix.ESRCH)
}

// longestConnect bounds a connect that nobody answers; the kernel gives up at about that time, too.
const longestConnect = 3 * time.Minute

// asOurselves is for what has no owner.
func asOurselves(f func() unix.Errno) unix.Errno { return f() }

// connectPatiently connects a socket, with the rights that as gives, and where it is a blocking one waits as the caller would, without
// a thread that blocks: a sandbox may have thousands that wait.
func connectPatiently(ctx context.Context, socket int, to []byte, as func(func() unix.Errno) unix.Errno) error {
	blocking, restore, err := unblock(socket)
	if err != nil {
		return err
	}
	defer restore()
	ctx, cancel := context.WithTimeout(ctx, longestConnect)
	defer cancel()
	for {
		errno := as(func() unix.Errno { return connectNow(socket, to) })
		switch {
		case errno == 0:
			return nil
		case !blocking, errno != unix.EINPROGRESS && errno != unix.EAGAIN:
			return errno
		case errno == unix.EINPROGRESS:
			return awaitConnect(ctx, socket)
		}
		// A local service whose queue is full.
		select {
		case <-ctx.Done():
			return unix.EAGAIN
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// unblock has calls on a socket return at once until restore, and tells whether they did not before.
func unblock(socket int) (blocking bool, restore func(), err error) {
	flags, err := unix.FcntlInt(uintptr(socket), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		return false, func() {}, err
	}
	_, err = unix.FcntlInt(uintptr(socket), unix.F_SETFL, flags|unix.O_NONBLOCK)
	return true, func() { _, _ = unix.FcntlInt(uintptr(socket), unix.F_SETFL, flags) }, err
}

func connectNow(socket int, to []byte) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(socket), uintptr(unsafe.Pointer(&to[0])), uintptr(len(to)))
	return errno
}

// awaitConnect waits until a connect that is on its way has come to an end.
func awaitConnect(ctx context.Context, socket int) error {
	dup, err := unix.FcntlInt(uintptr(socket), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(dup), "socket")
	defer f.Close()
	deadline, _ := ctx.Deadline()
	if err := f.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Now()) })
	defer stop()
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = c.Write(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			result = err
		case code != 0:
			result = unix.Errno(code)
		default:
			_, err := unix.Getpeername(int(fd))
			if errors.Is(err, unix.ENOTCONN) {
				return false
			}
		}
		return true
	})
	if err != nil {
		return unix.ETIMEDOUT
	}
	return result
}
