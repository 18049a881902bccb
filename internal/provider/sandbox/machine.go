package sandbox

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/node"
)

// machine is a root folder with the processes that run on it: a node, or a host. Its folder has:
//
//	machine.json   what must be the same at the next start
//	root/          / of the machine
//	local/         its /usr/local
//	log            what bubblewrap and the SSH server had to say
type machine struct {
	name    string
	dir     string
	hostKey hostKey
	ownUser bool

	mu       sync.Mutex // one starts or stops it at a time
	proc     *process
	address  netip.AddrPort
	features []string
}

// hostKey is the key that a machine shows: the private part as PEM, the public one as in known_hosts.
type hostKey struct {
	private []byte
	public  string
}

// machineRecord is machine.json. The private key is kept outside of the root folder as well: what the
// machine does to its own copy counts only for itself.
type machineRecord struct {
	Address    netip.Addr `json:"address"`
	PublicKey  string     `json:"public_key"`
	PrivateKey string     `json:"private_key"`
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// openMachine makes the folder of a machine, or reads it.
func (p *Provider) openMachine(dir, name string) (*machine, error) {
	m := &machine{name: name, dir: dir}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(m.path("machine.json"))
	switch {
	case err == nil:
		var r machineRecord
		if err := json.Unmarshal(b, &r); err != nil {
			return nil, fmt.Errorf("read %s: %w", m.path("machine.json"), err)
		}
		m.hostKey = hostKey{[]byte(r.PrivateKey), r.PublicKey}
		m.address = netip.AddrPortFrom(r.Address, 0)
	case errors.Is(err, fs.ErrNotExist):
		if m.hostKey, err = newHostKey(); err != nil {
			return nil, fmt.Errorf("make a host key for %s: %w", name, err)
		}
	default:
		return nil, err
	}
	return m, nil
}

func newHostKey() (hostKey, error) {
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		return hostKey{}, err
	}
	block, err := gossh.MarshalPrivateKey(priv, "")
	if err != nil {
		return hostKey{}, err
	}
	sshPub, err := gossh.NewPublicKey(pub)
	if err != nil {
		return hostKey{}, err
	}
	return hostKey{pem.EncodeToMemory(block), strings.TrimSpace(string(gossh.MarshalAuthorizedKey(sshPub)))}, nil
}

// boot starts the machine, if it does not run, and lets keys in.
func (p *Provider) boot(ctx context.Context, m *machine, features, keys []string, bootScripts bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc == nil || !m.proc.alive() {
		if err := p.start(ctx, m, features, bootScripts); err != nil {
			return fmt.Errorf("start sandbox node %s: %w", m.name, err)
		}
	}
	return m.authorize(keys)
}

// start is boot's, with m locked.
func (p *Provider) start(ctx context.Context, m *machine, features []string, bootScripts bool) error {
	if m.proc != nil {
		m.proc.stop() // it ended by itself
		p.network.release(m.address.Addr())
		m.proc = nil
	}
	before := m.address.Addr()
	ln, at, err := p.network.listen(before)
	if err != nil {
		return err
	}
	defer ln.Close() // the node has it now
	if before.IsValid() && before != at.Addr() {
		p.log.Warn("a host has another address now, since somebody else has the one that it had: what was told the old one must be told again",
			"provider", p.cfg.Name, "host", m.name, "before", before, "now", at.Addr())
	}
	m.address = at
	if err = m.save(); err == nil {
		err = p.layRoot(m, features)
	}
	if err == nil {
		m.proc, err = p.startProcess(ctx, m, ln, bootScripts)
	}
	if err == nil {
		m.features, err = p.verify(m, features)
	}
	if err != nil {
		if m.proc != nil {
			m.proc.stop()
			m.proc = nil
		}
		p.network.release(at.Addr())
	}
	return err
}

// save writes machine.json.
func (m *machine) save() error {
	b, err := json.Marshal(machineRecord{m.address.Addr(), m.hostKey.public, string(m.hostKey.private)})
	if err != nil {
		return err
	}
	tmp := m.path("machine.json.new")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, m.path("machine.json"))
}

// verify looks whether the features are in force.
func (p *Provider) verify(m *machine, features []string) ([]string, error) {
	root, err := os.OpenRoot(m.path("root"))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var have []string
	for _, name := range features {
		f := p.features[name]
		got, err := root.ReadFile(strings.TrimPrefix(filepath.Clean(f.Verify), "/"))
		if err == nil && strings.TrimSpace(string(got)) == f.Want {
			have = append(have, name)
		}
	}
	return have, nil
}

// authorize lets keys in, beside those that are let in already.
func (m *machine) authorize(keys []string) error {
	root, err := os.OpenRoot(m.path("root"))
	if err != nil {
		return err
	}
	defer root.Close()
	const file = "home/zuul/.ssh/authorized_keys"
	if err := root.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	have, err := root.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	add := ""
	for _, k := range keys {
		if k = strings.TrimSpace(k); !strings.Contains(string(have)+add, k) {
			add += k + "\n"
		}
	}
	if add == "" {
		return nil
	}
	if len(have) > 0 && have[len(have)-1] != '\n' {
		add = "\n" + add
	}
	f, err := root.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(add)
	return errors.Join(err, f.Close())
}

// stop ends the machine's processes and gives its address back.
func (p *Provider) stop(m *machine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc != nil {
		m.proc.stop()
		m.proc = nil
		p.network.release(m.address.Addr())
	}
}

// state is what can be said of the machine from outside.
func (m *machine) state() (up bool, at netip.AddrPort, features []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proc != nil && m.proc.alive(), m.address, m.features
}

// access is how to reach the machine.
func (p *Provider) access(m *machine) (node.Access, bool) {
	up, at, features := m.state()
	a := node.Access{
		Connection: "ssh", Host: at.Addr().String(), Port: int(at.Port()), User: "zuul",
		HostKeys: []string{m.hostKey.public}, Cloud: p.cfg.Name, HostID: m.name,
		Properties: map[string]string{"hostname": m.name}, Features: features, ExecutorZone: p.cfg.ExecutorZone,
	}
	if _, err := os.Stat("/usr/bin/python3"); err == nil {
		a.Python = "/usr/bin/python3"
	}
	return a, up
}
