// Package settings is the configuration of one Gozer process: one YAML file, read strictly, with every
// problem at once and every path made absolute. What pipelines and jobs do is not here but in the
// repositories and in the tenant file that this file names.
package settings

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Settings is the whole file. Zero values are the defaults that the comments name.
type Settings struct {
	// Data is the folder of everything that Gozer keeps on this machine.
	Data string `yaml:"data"`
	// Listen is where HTTP is served (127.0.0.1:8090); Root, what people type to reach it
	// (http://<listen>/).
	Listen string `yaml:"listen"`
	Root   string `yaml:"root"`
	// Probe is where a process without the web role tells how it is (/health/live, /health/ready,
	// /health/status); empty: nowhere.
	Probe string `yaml:"probe"`
	// Tenants is the tenant file.
	Tenants string `yaml:"tenants"`

	Store       Store        `yaml:"store"`
	History     History      `yaml:"history"`
	Blobs       Blobs        `yaml:"blobs"`
	Connections []Connection `yaml:"connections"`
	Providers   []Provider   `yaml:"providers"`
	Launcher    Launcher     `yaml:"launcher"`
	Holds       Holds        `yaml:"holds"`
	Executor    Executor     `yaml:"executor"`
	Ansible     Ansible      `yaml:"ansible"`
	Keys        Keys         `yaml:"keys"`
	Logs        Logs         `yaml:"logs"`
	Log         Log          `yaml:"log"`
	// Auth is the list of authenticators; none: who asks from this machine is trusted, unless Root says that people come
	// through a proxy.
	Auth []Auth `yaml:"auth"`
}

// Store says where the state is. Without endpoints an etcd runs inside this process, in Data.
type Store struct {
	Etcd *Etcd `yaml:"etcd"`
	// Member is the place of the etcd inside this process in a cluster; nil: it is alone and opens no port.
	Member *Member `yaml:"member"`
	// Quota is the largest size of the database of the etcd inside this process (2GiB); Reserve, what must be free
	// on its disk (128MiB). Beyond either the store takes nothing new.
	Quota   Size `yaml:"quota"`
	Reserve Size `yaml:"reserve"`
	// Lease is how long after its end a process's claims hold, and others wait before they take over (10s).
	Lease time.Duration `yaml:"lease"`
}

// Member is an embedded etcd that others reach: other processes as clients, other members as peers.
type Member struct {
	// Name in the cluster (gozer).
	Name string `yaml:"name"`
	// Clients and Peers are addresses (IP:port) to listen on. Others than loopback need TLS.
	Clients string `yaml:"clients"`
	Peers   string `yaml:"peers"`
	CA      string `yaml:"ca"`
	Cert    string `yaml:"cert"`
	Key     string `yaml:"key"`
	// Join lists client addresses of members of the cluster that a new member joins.
	Join []string `yaml:"join"`
}

// Etcd is an external cluster.
type Etcd struct {
	Endpoints []string `yaml:"endpoints"`
	CA        string   `yaml:"ca"`
	Cert      string   `yaml:"cert"`
	Key       string   `yaml:"key"`
	User      string   `yaml:"user"`
	Password  string   `yaml:"password"`
}

// History is the SQL database: a SQLite file in Data, or postgres://... Keep is for how long buildsets stay in it, with
// their builds and logs; zero is for ever.
type History struct {
	URL  string `yaml:"url"`
	Keep Age    `yaml:"keep"`
}

// Blobs is where logs and artefacts go: a folder in Data, or a gocloud URL.
type Blobs struct {
	URL string `yaml:"url"`
}

// Connection is one forge.
type Connection struct {
	Name   string `yaml:"name"`
	Driver string `yaml:"driver"`
	// Host is the canonical host name (the name of the connection for driver local).
	Host string `yaml:"host"`
	// Path is the folder of repositories of driver local (Data/forge/<name>).
	Path string `yaml:"path"`
	// Admin is the token with which branches of driver local may be pushed to directly; made at first
	// start and kept in Data where it is empty.
	Admin string `yaml:"admin"`
	// Projects that driver local makes if they are not there.
	Projects []string `yaml:"projects"`
	// MaxDependencies is how many unmerged git parents a change may have: events of others are left alone, with a
	// line in the log. Without it there is no bound.
	MaxDependencies *int `yaml:"max-dependencies"`
}

// Logs says for how long the logs of builds are kept, and how much of them: the oldest go first. Zero
// values are no bound.
type Logs struct {
	Keep    Age  `yaml:"keep"`
	MaxSize Size `yaml:"max-size"`
}

// Executor bounds what one executor does at a time.
type Executor struct {
	// Builds at once: 4 for each core where it is 0.
	Builds int `yaml:"builds"`
	// DiskPerBuild in MB (250).
	DiskPerBuild int `yaml:"disk-per-build"`
	// Zone is the one whose builds run here: those on nodes of providers with this executor-zone. AllowUnzoned: all
	// others, too.
	Zone         string `yaml:"zone"`
	AllowUnzoned bool   `yaml:"allow-unzoned"`
	// Sigterm is what SIGTERM means to a process that is an executor and nothing else: stop (default), which aborts its
	// builds, or graceful, which lets them end.
	Sigterm string `yaml:"sigterm-method"`
	// Listen is where other processes read the logs of builds that run here (127.0.0.1, a free port), and
	// Address how they reach that (http://<listen>).
	Listen  string `yaml:"listen"`
	Address string `yaml:"address"`
	// LogTLS encrypts that: all processes of the installation have a certificate of one authority, and know each
	// other by it.
	LogTLS *LogTLS `yaml:"log-tls"`
	// Variables is the site variables file.
	Variables string `yaml:"variables"`
	// WinRMCert and WinRMKey are the PEM files by which Windows nodes let the executor in; the timeouts are seconds.
	WinRMCert      string `yaml:"winrm-cert-pem-file"`
	WinRMKey       string `yaml:"winrm-cert-key-file"`
	WinRMOperation int    `yaml:"winrm-operation-timeout-sec"`
	WinRMRead      int    `yaml:"winrm-read-timeout-sec"`
	// Callbacks are further callback plugins that Ansible has in every playbook, by name with their options, and
	// CallbackPlugins a folder with them.
	Callbacks       map[string]map[string]string `yaml:"callbacks"`
	CallbackPlugins string                       `yaml:"callback-plugins"`
	// Paths of this machine that playbooks of config projects (trusted) and of others have in their
	// sandboxes, read-only or writable.
	TrustedReadOnly   []string `yaml:"trusted-ro-paths"`
	TrustedWritable   []string `yaml:"trusted-rw-paths"`
	UntrustedReadOnly []string `yaml:"untrusted-ro-paths"`
	UntrustedWritable []string `yaml:"untrusted-rw-paths"`
	// LoadMultiplier is the load for each processor above which no builds are taken (no bound). MinFree...
	// are the hundredths of disk, inodes and memory that must be free (5; -1 is no bound).
	LoadMultiplier float64 `yaml:"load-multiplier"`
	MinFreeDisk    float64 `yaml:"min-avail-hdd"`
	MinFreeInodes  float64 `yaml:"min-avail-inodes"`
	MinFreeMemory  float64 `yaml:"min-avail-mem"`
	// DeniedNetworks are those that sandboxes cannot connect to. Not given: the addresses at which clouds
	// serve metadata. The store, the database and this server are denied in any case.
	DeniedNetworks []string `yaml:"denied-networks"`
}

// LogTLS are PEM files: the authority, and this process's certificate (for its host name, as server and client) with
// its key.
type LogTLS struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Ansible says where its virtual environments are (Data/ansible).
type Ansible struct {
	Dir string `yaml:"dir"`
	// Default is the version for jobs that name none ("9").
	Default string `yaml:"default"`
}

// Keys says how the private keys of projects are kept. With a password they are encrypted in the store, as in Zuul's
// (its [keystore] password); keys that are there without one are encrypted with it when they are next used.
// Password wins over PasswordFile, the first line of a file.
type Keys struct {
	Password     string `yaml:"password"`
	PasswordFile string `yaml:"password-file"`
}

// Secret is the password; empty, where there is none.
func (k Keys) Secret() (string, error) {
	if k.Password != "" || k.PasswordFile == "" {
		return k.Password, nil
	}
	b, err := os.ReadFile(k.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("keys.password-file: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", fmt.Errorf("keys.password-file: the first line of %s is empty", k.PasswordFile)
	}
	return line, nil
}

// Log says what is logged: level debug, info (default), warn or error; format text (default) or json.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// ConnectionDrivers that there are.
var ConnectionDrivers = []string{"local"}

// Finish fills the defaults in, makes paths absolute from dir, and checks everything.
func (s *Settings) Finish(dir string) error {
	abs := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	def := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if s.Data == "" {
		problem("data: name the folder in which Gozer may keep its state")
	}
	abs(&s.Data)
	def(&s.Listen, "127.0.0.1:8090")
	if _, _, err := net.SplitHostPort(s.Listen); err != nil {
		problem("listen: %q is not host:port", s.Listen)
	}
	def(&s.Root, "http://"+s.Listen+"/")
	if u, err := url.Parse(s.Root); err != nil || u.Host == "" {
		problem("root: %q is no URL", s.Root)
	}
	s.Root = strings.TrimSuffix(s.Root, "/") + "/"
	if s.Tenants == "" {
		problem("tenants: name the tenant file")
	}
	abs(&s.Tenants)
	if s.Probe != "" {
		if _, _, err := net.SplitHostPort(s.Probe); err != nil {
			problem("probe: %q is not host:port", s.Probe)
		}
	}
	s.finishStore(problem, def, abs)
	if e := s.Store.Etcd; e != nil {
		if len(e.Endpoints) == 0 {
			problem("store.etcd.endpoints: name at least one")
		}
		abs(&e.CA)
		abs(&e.Cert)
		abs(&e.Key)
	}
	def(&s.History.URL, "sqlite://"+filepath.Join(s.Data, "history.db"))
	def(&s.Blobs.URL, "file://"+filepath.Join(s.Data, "blobs"))
	s.finishExecutor(problem, def, abs)
	abs(&s.Keys.PasswordFile)
	def(&s.Ansible.Dir, filepath.Join(s.Data, "ansible"))
	abs(&s.Ansible.Dir)
	def(&s.Ansible.Default, "9")
	s.finishConnections(problem, def, abs)
	abs(&s.Launcher.Key)
	s.finishProviders(problem)
	s.finishAuth(problem)
	if !slices.Contains([]string{"", "debug", "info", "warn", "error"}, s.Log.Level) {
		problem("log.level: %q is none of debug, info, warn, error", s.Log.Level)
	}
	if !slices.Contains([]string{"", "text", "json"}, s.Log.Format) {
		problem("log.format: %q is neither text nor json", s.Log.Format)
	}
	return errors.Join(errs...)
}

func (s *Settings) finishExecutor(problem func(string, ...any), def func(*string, string), abs func(*string)) {
	x := &s.Executor
	abs(&x.Variables)
	abs(&x.WinRMCert)
	abs(&x.WinRMKey)
	abs(&x.CallbackPlugins)
	def(&x.Listen, "127.0.0.1:0")
	if host, _, err := net.SplitHostPort(x.Listen); err != nil {
		problem("executor.listen: %q is not host:port", x.Listen)
	} else if x.Address == "" && (host == "" || host == "0.0.0.0" || host == "::") {
		problem("executor.address: say by which URL other machines reach executor.listen %s", x.Listen)
	}
	if !slices.Contains([]string{"", "stop", "graceful"}, x.Sigterm) {
		problem("executor.sigterm-method: %q is neither stop nor graceful", x.Sigterm)
	}
	x.Address = strings.TrimSuffix(x.Address, "/")
	if t := x.LogTLS; t != nil {
		if t.CA == "" || t.Cert == "" || t.Key == "" {
			problem("executor.log-tls: name ca, cert and key")
		}
		if a := x.Address; a != "" && !strings.HasPrefix(a, "https://") {
			problem("executor.address: %s is not https://, as executor.log-tls wants it", a)
		}
		abs(&t.CA)
		abs(&t.Cert)
		abs(&t.Key)
	}
}

// shortestLease is what an etcd can still grant and keep.
const shortestLease = 2 * time.Second

func (s *Settings) finishStore(problem func(string, ...any), def func(*string, string), abs func(*string)) {
	switch {
	case s.Store.Lease == 0:
		s.Store.Lease = 10 * time.Second
	case s.Store.Lease < shortestLease:
		problem("store.lease: %v is too short; the shortest is %v", s.Store.Lease, shortestLease)
	}
	m := s.Store.Member
	if m == nil {
		return
	}
	if s.Store.Etcd != nil {
		problem("store: name etcd (a cluster elsewhere) or member (one inside this process), not both")
	}
	def(&m.Name, "gozer")
	abs(&m.CA)
	abs(&m.Cert)
	abs(&m.Key)
	for what, addr := range map[string]string{"clients": m.Clients, "peers": m.Peers} {
		host, _, err := net.SplitHostPort(addr)
		ip := net.ParseIP(host)
		switch {
		case addr == "":
		case err != nil || ip == nil:
			problem("store.member.%s: %q is not IP:port", what, addr)
		case !ip.IsLoopback() && (m.CA == "" || m.Cert == "" || m.Key == ""):
			problem("store.member.%s: %s can be reached from elsewhere, so it needs TLS: ca, cert and key", what, addr)
		}
	}
	if len(m.Join) > 0 && m.Peers == "" {
		problem("store.member.peers: a member that joins a cluster needs an address at which the others reach it")
	}
}

func (s *Settings) finishConnections(problem func(string, ...any), def func(*string, string), abs func(*string)) {
	if len(s.Connections) == 0 {
		problem("connections: there is none, so there is nothing to test; the least is one with driver local")
	}
	seen := map[string]bool{}
	for i := range s.Connections {
		c := &s.Connections[i]
		switch {
		case !name.MatchString(c.Name):
			problem("connections[%d].name: %q is no name (letters, digits, _ . -)", i, c.Name)
		case seen[c.Name]:
			problem("connections[%d].name: %q is there twice", i, c.Name)
		}
		seen[c.Name] = true
		if !slices.Contains(ConnectionDrivers, c.Driver) {
			problem("connections[%d].driver: %q is none of %s", i, c.Driver, strings.Join(ConnectionDrivers, ", "))
		}
		if c.MaxDependencies != nil && *c.MaxDependencies < 0 {
			problem("connections[%d].max-dependencies: %d is no number of changes; leave it out for no bound", i, *c.MaxDependencies)
		}
		def(&c.Host, c.Name)
		def(&c.Path, filepath.Join(s.Data, "forge", c.Name))
		abs(&c.Path)
	}
}
