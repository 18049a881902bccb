package sandbox

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"

	"github.com/gozer-ci/gozer/internal/provider"
)

// The ports that SSH is on: the first where we may.
var sshPorts = []int{22, 2222}

// network hands out loopback addresses. Being able to listen on one is what makes it ours, so that
// several Gozers on one machine do not take each other's.
type network struct {
	prefix netip.Prefix

	mu   sync.Mutex
	next netip.Addr
	used map[netip.Addr]bool
	kept map[netip.Addr]bool
}

// newNetwork begins at a place that owner, a folder, always gives, and hardly ever another one: what lasts comes
// back at the address that it had, and that others know it by, although other Gozers started meanwhile.
func newNetwork(p netip.Prefix, owner string) *network {
	p = p.Masked()
	n := &network{prefix: p, used: map[netip.Addr]bool{}, kept: map[netip.Addr]bool{}}
	sum := sha256.Sum256([]byte(owner))
	a := p.Addr().As4()
	offset := max(1, binary.BigEndian.Uint32(sum[:4])&(1<<(32-p.Bits())-1))
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])|offset)
	n.next = netip.AddrFrom4(a)
	return n
}

// keep leaves an address to whoever prefers it.
func (n *network) keep(a netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kept[a] = true
}

// listen takes an address, if it can be had the preferred one, and listens on its SSH port. Addresses
// go round, so that one that was given back is not soon another node's.
func (n *network) listen(prefer netip.Addr) (*net.TCPListener, netip.AddrPort, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.prefix.Contains(prefer) && !n.used[prefer] {
		if ln, at, err := listenSSH(prefer); err == nil {
			n.used[prefer] = true
			return ln, at, nil
		}
	}
	for first, wrapped := n.next, false; !wrapped || n.next != first; {
		a := n.next
		n.next = a.Next()
		if !n.prefix.Contains(n.next) {
			n.next, wrapped = n.prefix.Addr().Next(), true
		}
		if last := a.As4()[3]; n.used[a] || n.kept[a] || last == 0 || last == 255 {
			continue
		}
		ln, at, err := listenSSH(a)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, netip.AddrPort{}, fmt.Errorf("take a node address: %w", err)
		}
		n.used[a] = true
		return ln, at, nil
	}
	return nil, netip.AddrPort{}, fmt.Errorf("every address of %s is taken: %w", n.prefix, provider.ErrQuota)
}

// release gives an address back.
func (n *network) release(a netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.used, a)
}

func listenSSH(a netip.Addr) (*net.TCPListener, netip.AddrPort, error) {
	var err error
	for _, port := range sshPorts {
		var ln net.Listener
		ln, err = net.Listen("tcp4", net.JoinHostPort(a.String(), strconv.Itoa(port)))
		if err == nil {
			return ln.(*net.TCPListener), netip.AddrPortFrom(a, uint16(port)), nil
		}
		if !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EPERM) {
			break
		}
	}
	return nil, netip.AddrPort{}, err
}
