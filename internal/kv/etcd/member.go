package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/gozer-ci/gozer/internal/kv"
)

// unheard is the peer address in the books of a member that listens for no peers. Nobody ever
// connects to it.
const unheard = "127.0.0.1:2380"

// defaultQuota is twice what the live data of an installation should be.
const defaultQuota = 2 << 30

// longestSocket is the longest path that the address of a socket can hold.
const longestSocket = 107

// EmbedConfig says how to run a member inside this process. Only Dir is needed.
type EmbedConfig struct {
	// Dir is the folder that holds everything; it is made (mode 0700) if it is not there. One
	// process at a time can use it.
	Dir string
	// Name of the member in its cluster; "gozer" where empty.
	Name string
	// PeerAddr, where set, is the host:port at which the other members of a cluster reach this
	// one. Empty: this member is alone.
	PeerAddr string
	// ClientAddr, where set, is the host:port at which other processes can Dial this member
	// (port 0: any; see Member.ClientAddr). Empty: only this process uses it.
	ClientAddr string
	// Socket, where set and ClientAddr is not, is the path of a socket at which other processes of this machine can
	// Dial this member, as unix://PATH. It belongs into a folder that only its user may enter. A path that is too
	// long for a socket is left out.
	Socket string
	// ClientTLS and PeerTLS protect the two ports. An address other than loopback needs them.
	ClientTLS, PeerTLS *TLSFiles
	// Join are client addresses of a running cluster. A member whose folder is new joins it
	// (and needs a Name of its own, and a PeerAddr); later starts ignore it.
	Join []string
	// JoinDial says how to connect for Join; its Endpoints are not used.
	JoinDial DialConfig
	// Prefix of all keys, DefaultPrefix where empty.
	Prefix string
	// Quota is the largest size of the database in bytes; 2 GiB where zero. Beyond it writes
	// give kv.ErrNoSpace, until compaction has made room.
	Quota int64
	// Reserve is how many bytes must be free on the disk of Dir; DefaultReserve where zero. Below it
	// writes to the whole cluster give kv.ErrNoSpace, until there is room.
	Reserve int64
	// Retention is for how long, at least, old revisions are kept; a minute where zero. Whoever
	// watches from an older one must range again.
	Retention time.Duration
	// NoSync leaves out waiting for the disk: for tests. A crash of the machine can lose or
	// damage the data; that of the process cannot.
	NoSync bool
	// Log gets what etcd has to warn about; nil discards it.
	Log *slog.Logger
}

// TLSFiles are PEM files. Everybody who connects must show a certificate signed by CA.
type TLSFiles struct {
	Cert, Key, CA string
}

// Member is an etcd server in this process.
type Member struct {
	etcd    *embed.Etcd
	store   *Store
	room    *room
	unwatch func() // ends the watching of room
	release func() error
	once    sync.Once
	err     error
}

// Start runs a member and returns when it serves. ctx bounds the start only; Close ends the
// member.
func Start(ctx context.Context, c EmbedConfig) (*Member, error) {
	m, err := start(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("start embedded etcd: %w", err)
	}
	return m, nil
}

func start(ctx context.Context, c EmbedConfig) (_ *Member, err error) {
	cfg, err := c.embed()
	if err != nil {
		return nil, err
	}
	release, err := lockDir(c.Dir)
	if err != nil {
		return nil, err
	}
	m := &Member{release: release, unwatch: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	if err := toBegin(c.Dir); err != nil {
		return nil, err
	}
	joins, err := c.join(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if m.etcd, err = embed.StartEtcd(cfg); err != nil {
		return nil, c.explain(err)
	}
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	m.store = newStore(v3client.New(m.etcd.Server), c.Prefix, false)
	if joins {
		err = c.promote(ctx, uint64(m.etcd.Server.MemberID()))
	} else {
		err = m.advertise(ctx, cfg)
	}
	if err != nil {
		return nil, err
	}
	m.watchRoom(c)
	return m, nil
}

// watchRoom begins to watch the disk; unwatch ends it.
func (m *Member) watchRoom(c EmbedConfig) {
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	m.room = &room{dir: c.Dir, reserve: orElse(c.Reserve, DefaultReserve), quota: orElse(c.Quota, defaultQuota), server: m.etcd.Server, warn: log.Warn}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.room.watch(ctx) }()
	m.unwatch = func() { cancel(); <-done }
}

// embed writes down what etcd is to do.
func (c EmbedConfig) embed() (*embed.Config, error) {
	if c.Dir == "" {
		return nil, errors.New("no data folder given")
	}
	cfg := embed.NewConfig()
	cfg.Dir = c.Dir
	cfg.Name = orElse(c.Name, "gozer")
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapLogger(c.Log))
	cfg.LogLevel = "warn"
	cfg.EnableGRPCGateway = false
	cfg.UnsafeNoFsync = c.NoSync
	cfg.QuotaBackendBytes = orElse(c.Quota, defaultQuota)
	cfg.AutoCompactionMode = embed.CompactorModePeriodic
	cfg.AutoCompactionRetention = orElse(c.Retention, time.Minute).String()
	cfg.BootstrapDefragThresholdMegabytes = 256
	cfg.MaxRequestBytes = maxRequest
	cfg.MaxTxnOps = kv.MaxOps
	if c.PeerAddr == "" {
		// Alone, a member elects itself: the sooner, the sooner we serve.
		cfg.TickMs, cfg.ElectionMs = 50, 500
	}

	peer, err := listenURL(orElse(c.PeerAddr, unheard), c.PeerTLS)
	if err != nil {
		return nil, fmt.Errorf("listen for peers on %s: %w", c.PeerAddr, err)
	}
	cfg.AdvertisePeerUrls, cfg.ListenPeerUrls = []url.URL{peer}, nil
	if c.PeerAddr != "" {
		cfg.ListenPeerUrls = cfg.AdvertisePeerUrls
		c.PeerTLS.apply(&cfg.PeerTLSInfo)
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil
	if c.ClientAddr != "" {
		client, err := listenURL(c.ClientAddr, c.ClientTLS)
		if err != nil {
			return nil, fmt.Errorf("listen for clients on %s: %w", c.ClientAddr, err)
		}
		cfg.ListenClientUrls = []url.URL{client}
		cfg.AdvertiseClientUrls = cfg.ListenClientUrls
		c.ClientTLS.apply(&cfg.ClientTLSInfo)
	} else if c.Socket != "" && len(c.Socket) <= longestSocket {
		cfg.ListenClientUrls = []url.URL{{Scheme: "unix", Path: c.Socket}}
		cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	return cfg, nil
}

// orElse is v, or what stands for its zero value.
func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// ready waits until the member has a leader and has published itself.
func (m *Member) ready(ctx context.Context) error {
	select {
	case <-m.etcd.Server.ReadyNotify():
		return nil
	case err := <-m.etcd.Err():
		return fmt.Errorf("serve: %w", err)
	case <-m.etcd.Server.StopNotify():
		return errors.New("the server stopped while it started; the log says why")
	case <-ctx.Done():
		return fmt.Errorf("not ready (a member of a cluster needs a majority of it): %w", ctx.Err())
	}
}

// explain makes one sentence of what can go wrong in StartEtcd because of what c says.
func (c EmbedConfig) explain(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("the disk of %s is full: make room: %w", c.Dir, err)
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	for what, addr := range map[string]string{"clients": c.ClientAddr, "peers": c.PeerAddr} {
		var op *net.OpError
		if errors.As(err, &op) && op.Addr != nil && op.Addr.String() == addr {
			return fmt.Errorf("listen for %s on %s: the port is taken by another process", what, addr)
		}
	}
	return err
}

// Store is the member's key-value space, through the process and not the network. It is closed
// with the member.
func (m *Member) Store() *Store { return m.store }

// ClientAddr is where other processes can Dial this member; empty if they cannot.
func (m *Member) ClientAddr() string {
	if len(m.etcd.Clients) == 0 || m.etcd.Clients[0].Addr().Network() == "unix" {
		return ""
	}
	return m.etcd.Clients[0].Addr().String()
}

// Done is closed when the server stopped, by Close or because it was removed from its cluster.
func (m *Member) Done() <-chan struct{} { return m.etcd.Server.StopNotify() }

// Close closes the Store, stops the server and gives the folder back.
func (m *Member) Close() error {
	m.once.Do(func() {
		m.unwatch()
		if m.store != nil {
			m.err = m.store.Close()
		}
		if m.etcd != nil {
			m.etcd.Close()
		}
		if err := m.release(); err != nil {
			m.err = errors.Join(m.err, fmt.Errorf("unlock data folder: %w", err))
		}
	})
	return m.err
}

// advertise corrects the peer address in the cluster's books after the configuration changed it;
// etcd reads it from the configuration only when a folder is new.
func (m *Member) advertise(ctx context.Context, cfg *embed.Config) error {
	id := m.etcd.Server.MemberID()
	want := cfg.AdvertisePeerUrls[0].String()
	me := m.etcd.Server.Cluster().Member(id)
	if me == nil || (len(me.PeerURLs) == 1 && me.PeerURLs[0] == want) || len(cfg.ListenPeerUrls) == 0 {
		return nil
	}
	if _, err := m.store.client.MemberUpdate(ctx, uint64(id), []string{want}); err != nil {
		return fmt.Errorf("change peer address to %s: %w", want, err)
	}
	return nil
}
