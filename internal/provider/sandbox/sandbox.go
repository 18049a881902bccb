// Package sandbox is a provider of nodes that are namespaces on this machine. A node is a process tree
// under bubblewrap with processes, users, a host name and a root folder of its own; /usr is the host's, with a
// layer of the node's own upon it where Gozer runs as root, so that packages can be installed, and read-only
// elsewhere. It has an address of its own on the loopback and a built-in SSH server behind it, so that
// Ansible comes in as it would to a cloud node. There is no daemon, no image and nothing to download.
//
// # What a node is like
//
// People log in as zuul. That and root are two names of one user, user id 0 of the node's namespace:
// a sandbox has no set-uid programs, so nobody could become root who was not before. A small sudo lets
// Ansible's become do what it expects. On nodes of labels with OwnUser zuul has an id of his own, and what sudo
// is asked for is run by the first process of the node. Where Gozer runs as root, or the user has a range in /etc/subuid
// and newuidmap (package uidmap) is installed, a node has 65,536 user ids: playbooks can create users,
// run things as them, and give them files. Otherwise it has only the one, and chown to others is refused
// by the kernel.
//
// # Its network
//
// A node has the host's network, with an address on the host's loopback in the place of all addresses of
// the host: what it listens on is there, and what it connects to on this machine is its own, another node's,
// or in Config.Reach. So it reaches the outside, and nothing that listens on the host: no service of Gozer's,
// no database. A system call filter sees to that, and nothing on a node can take it off (sandbox.Home). It is
// about TCP and sockets without a file; UDP is the host's, and nodes reach each other.
//
// # Hosts
//
// Labels give fresh nodes, deleted after use. Hosts are machines with a name that last: their root
// folder survives restarts, several builds may use one at once (slots), and at each start they run the
// executable files in /etc/gozer/boot.d, so that services come back.
package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/gozer-ci/gozer/internal/provider"
	"github.com/gozer-ci/gozer/internal/sandbox"
)

// Label is a kind of fresh node.
type Label struct {
	Name string
	// Max at one time (0: no bound); MinReady are kept ready.
	Max, MinReady int
	// MaxReadyAge and MaxAge are those of provider.Label.
	MaxReadyAge, MaxAge time.Duration
	// Features are promised; those that are no entries of Config.Features are the launcher's to bring about.
	Features []string
	// OwnUser: zuul has an id of his own, and is root by sudo only. Otherwise they are names of one user.
	OwnUser bool
}

// Host is a machine that lasts.
type Host struct {
	// Name is its host name, and its label where Labels is empty.
	Name   string
	Labels []string
	// Slots is how many builds may use it at once; 0 is one.
	Slots    int
	Features []string
}

// Feature is something that a node has from before its first playbook on. A namespace cannot change the
// kernel: a feature here is files laid into the root folder, and one of them is what is looked at to
// verify it.
type Feature struct {
	Name string
	// Files maps absolute paths to contents.
	Files map[string]string
	// Verify is the path whose content, without space around it, must be Want.
	Verify, Want string
}

// Config of a Provider. Name and Folder are required.
type Config struct {
	Name string
	// Folder keeps the root folders. One process at a time may use it.
	Folder   string
	Labels   []Label
	Hosts    []Host
	Features []Feature
	// Network is where addresses are taken from; zero is 127.90.0.0/16.
	Network netip.Prefix
	// ReadOnly are further files and folders of the host that nodes see, read-only, at the same place:
	// an Ansible environment, a Python. /usr/local among them takes the place of the node's own.
	ReadOnly []string
	// ExecutorZone is that of node.Access.
	ExecutorZone string
	// Denied is where nodes cannot connect to beside the host itself: cloud metadata.
	Denied sandbox.Denied
	// Reach are services of the host that nodes can connect to: a proxy, a mirror.
	Reach []netip.AddrPort
	// Etc are further entries of the host's /etc that nodes get a copy of.
	Etc []string
	// Environ is for every session ("KEY=value").
	Environ []string
	// MaxSessions bounds the sessions of one SSH connection; 0 is 64.
	MaxSessions int
	// Program is the executable whose "sandbox-node" verb runs NodeMain; empty is this one.
	Program string
	// Log may be nil.
	Log *slog.Logger
}

// Provider makes sandbox nodes; it implements provider.Provider. All nodes end with Close, and with the
// process, however that ends.
type Provider struct {
	cfg      Config
	log      *slog.Logger
	ids      idMap
	unguard  sync.Once // says that nodes are not kept from the host's network
	bare     sync.Once // says that nodes have no layers of their own
	lock     *os.File
	network  *network
	links    *links
	hosts    map[string]*host // by name; the set is fixed
	features map[string]Feature

	mu        sync.Mutex
	instances map[string]*instance
	closed    bool

	names sync.Mutex // one rewrites the hosts files at a time
}

var _ provider.Provider = (*Provider)(nil)

// validName is what may be a host name, and an ID: both become names of folders.
var validName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`)

// Open removes what an earlier process left behind, and starts the hosts. The error says what to install
// where this machine cannot have sandbox nodes.
func Open(ctx context.Context, c Config) (*Provider, error) {
	if err := Check(ctx); err != nil {
		return nil, err
	}
	p, err := newProvider(c)
	if err != nil {
		return nil, err
	}
	if err := p.claimFolder(); err != nil {
		return nil, err
	}
	if err := p.startHosts(ctx); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

func newProvider(c Config) (*Provider, error) {
	if !c.Network.IsValid() {
		c.Network = netip.MustParsePrefix("127.90.0.0/16")
	}
	var err error
	if c.Folder, err = filepath.Abs(c.Folder); err != nil {
		return nil, fmt.Errorf("sandbox provider %s: %w", c.Name, err)
	}
	if c.Program == "" {
		if c.Program, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("sandbox provider %s: where is this program: %w", c.Name, err)
		}
	}
	p := &Provider{
		cfg: c, log: c.Log, ids: findIDMap(), network: newNetwork(c.Network, c.Folder),
		links: &links{dir: filepath.Join(c.Folder, "links"), made: map[string]string{}},
		hosts: map[string]*host{}, features: map[string]Feature{}, instances: map[string]*instance{},
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	return p, p.readSettings()
}

// readSettings checks that the settings make sense together.
func (p *Provider) readSettings() error {
	for _, f := range p.cfg.Features {
		p.features[f.Name] = f
	}
	labels := map[string]bool{}
	for _, l := range p.cfg.Labels {
		if labels[l.Name] {
			return fmt.Errorf("sandbox provider %s: label %q is there twice", p.cfg.Name, l.Name)
		}
		labels[l.Name] = true
		if l.OwnUser && (os.Geteuid() != 0 || !p.ids.many()) {
			return fmt.Errorf("sandbox provider %s: label %s: nodes have a user of their own only where Gozer runs as root, with %d user ids: leave own-user out", p.cfg.Name, l.Name, otherIDs)
		}
	}
	for _, h := range p.cfg.Hosts {
		if !validName.MatchString(h.Name) || p.hosts[h.Name] != nil {
			return fmt.Errorf("sandbox provider %s: host %q: the name is there twice, or is no host name", p.cfg.Name, h.Name)
		}
		if len(h.Labels) == 0 {
			h.Labels = []string{h.Name}
		}
		for _, l := range h.Labels {
			if labels[l] {
				return fmt.Errorf("sandbox provider %s: label %q is of fresh nodes and of host %s: one of them needs another", p.cfg.Name, l, h.Name)
			}
		}
		p.hosts[h.Name] = newHost(h)
	}
	return nil
}

// claimFolder takes the lock of the data folder and removes the nodes of an earlier process. Their
// processes ended with it.
func (p *Provider) claimFolder() error {
	if err := os.MkdirAll(p.cfg.Folder, 0o755); err != nil {
		return fmt.Errorf("sandbox provider %s: %w", p.cfg.Name, err)
	}
	lock, err := os.OpenFile(filepath.Join(p.cfg.Folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("sandbox provider %s: %w", p.cfg.Name, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return fmt.Errorf("sandbox provider %s: another Gozer uses %s: stop it, or give this one another folder", p.cfg.Name, p.cfg.Folder)
	}
	p.lock = lock
	if err := os.RemoveAll(p.links.dir); err != nil {
		return fmt.Errorf("sandbox provider %s: %w", p.cfg.Name, err)
	}
	left, err := os.ReadDir(p.nodesFolder())
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("sandbox provider %s: %w", p.cfg.Name, err)
	}
	for _, e := range left {
		p.log.Info("remove what is left of a node", "provider", p.cfg.Name, "node", e.Name())
		if err := p.removeTree(filepath.Join(p.nodesFolder(), e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (p *Provider) nodesFolder() string { return filepath.Join(p.cfg.Folder, "nodes") }

// startHosts brings up all hosts, some at a time. Each has the address that it had before: others know it by that.
func (p *Provider) startHosts(ctx context.Context) error {
	all := p.sortedHosts()
	for _, h := range all {
		m, err := p.openMachine(filepath.Join(p.cfg.Folder, "hosts", h.cfg.Name), h.cfg.Name)
		if err != nil {
			return err
		}
		h.machine = m
		p.network.keep(m.address.Addr())
	}
	var g errgroup.Group
	g.SetLimit(8)
	for _, h := range all {
		g.Go(func() error {
			// One host that its users broke must not keep the others down; whoever wants it hears why.
			if err := p.boot(ctx, h.machine, h.cfg.Features, nil, true); err != nil {
				p.log.ErrorContext(ctx, "host does not start", "provider", p.cfg.Name, "host", h.cfg.Name, "err", err)
			}
			return context.Cause(ctx)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	p.writeHostsFiles()
	return p.readSlots()
}

func (p *Provider) sortedHosts() []*host {
	var all []*host
	for _, h := range p.hosts {
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b *host) int { return cmp.Compare(a.cfg.Name, b.cfg.Name) })
	return all
}

// Name is the provider's name.
func (p *Provider) Name() string { return p.cfg.Name }

// Labels are those of fresh nodes, then those of hosts, each with as many slots as its hosts have.
func (p *Provider) Labels() []provider.Label {
	var out []provider.Label
	for _, l := range p.cfg.Labels {
		out = append(out, provider.Label{Name: l.Name, Max: l.Max, MinReady: l.MinReady, MaxReadyAge: l.MaxReadyAge, MaxAge: l.MaxAge, Features: l.Features})
	}
	fresh := len(out)
	for _, h := range p.sortedHosts() {
		for _, l := range h.cfg.Labels {
			i := slices.IndexFunc(out[fresh:], func(o provider.Label) bool { return o.Name == l })
			if i < 0 {
				out = append(out, provider.Label{Name: l, Reused: true, Max: h.cfg.Slots, Features: h.cfg.Features})
				continue
			}
			o := &out[fresh+i]
			o.Max += h.cfg.Slots
			o.Features = slices.DeleteFunc(slices.Clone(o.Features), func(f string) bool { return !slices.Contains(h.cfg.Features, f) })
		}
	}
	return out
}

// Close ends every node. Root folders of hosts stay; those of nodes are removed at the next Open.
func (p *Provider) Close() error {
	p.mu.Lock()
	p.closed = true
	var all []*machine
	for _, i := range p.instances {
		if i.host == nil && i.machine != nil {
			all = append(all, i.machine)
		}
	}
	p.mu.Unlock()
	for _, h := range p.hosts {
		if h.machine != nil {
			all = append(all, h.machine)
		}
	}
	for _, m := range all {
		p.stop(m)
	}
	return p.lock.Close()
}
