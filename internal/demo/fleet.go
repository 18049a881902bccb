// Package demo plays Gozer's story on this machine: it raises a fleet of sandbox hosts, fills the built-in forge
// from examples/opendev, and pushes, approves and watches as people would. It uses only what everybody can:
// git, the forge's API and the records that the page shows.
package demo

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/provider"
)

// Hosts of the fleet, the bastion first. The bastion is a node like any other for the jobs of the deploy
// pipeline; the rest is reached from it.
var Hosts = []string{
	"bridge01", "acme01", "gitea-lb01", "gitea01", "grafana01", "lists01", "mirror01", "ns01", "pads01",
	"review01", "static01", "zk01", "zuul01",
}

// Bastion is the host that deploy jobs run on, several at once, as a node of label BastionLabel.
const (
	Bastion      = "bridge01"
	BastionLabel = "bridge"
	BastionSlots = 4
)

// keyComment marks the fleet's key in authorized_keys.
const keyComment = "gozer-demo-fleet"

// newKey makes a key pair: the private half as OpenSSH writes it, the public one as an authorized_keys line.
func newKey() (private []byte, public string, err error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, "", err
	}
	block, err := ssh.MarshalPrivateKey(priv, keyComment)
	if err != nil {
		return nil, "", err
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return nil, "", err
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPub))) + " " + keyComment
	return pem.EncodeToMemory(block), line, nil
}

// raise brings the hosts of the fleet up, lets the fleet's key into each, and tells the bastion where they
// are. Hosts that are there already are only told again.
func raise(ctx context.Context, p provider.Provider, private []byte, public string) error {
	access := make([]*provider.Instance, len(Hosts))
	g, gctx := errgroup.WithContext(ctx)
	for i, h := range Hosts {
		g.Go(func() error {
			in, err := p.Create(gctx, provider.Spec{ID: "raise-" + h, Label: Label(h), Keys: []string{public}})
			if errors.Is(err, provider.ErrQuota) && h == Bastion {
				access[i], err = besides(gctx, p, public)
				return err
			}
			if err != nil {
				return fmt.Errorf("start host %s: %w", h, err)
			}
			access[i] = in
			// The host stays; only the slot that was needed to reach it is free again.
			return p.Delete(gctx, "raise-"+h)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	inventory, err := inventory(access)
	if err != nil {
		return err
	}
	c, err := connect(ctx, access[0], private)
	if err != nil {
		return fmt.Errorf("log in to %s: %w", Bastion, err)
	}
	defer c.Close()
	for _, f := range []struct{ path, mode, text string }{
		{"/home/zuul/.ssh/id_ed25519", "600", string(private)},
		{"/etc/ansible/hosts-fleet.yaml", "644", inventory},
	} {
		if err := put(c, f.path, f.mode, f.text); err != nil {
			return fmt.Errorf("write %s on %s: %w", f.path, Bastion, err)
		}
	}
	return nil
}

// besides reaches the bastion where nodes that an earlier run of the story left have all of its slots: through one of
// them.
func besides(ctx context.Context, p provider.Provider, public string) (*provider.Instance, error) {
	all, err := p.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, in := range all {
		if in.Label == BastionLabel {
			return p.Create(ctx, provider.Spec{ID: in.ID, Label: in.Label, Keys: []string{public}})
		}
	}
	return nil, fmt.Errorf("start host %s: %w", Bastion, provider.ErrQuota)
}

// Label is the label under which the demo reaches a host. The bastion has a second one, for jobs.
func Label(host string) string { return "fleet-" + host }

// inventory says where each host is, for the Ansible that runs on the bastion.
func inventory(hosts []*provider.Instance) (string, error) {
	type host struct {
		Host string `yaml:"ansible_host"`
		Port int    `yaml:"ansible_port"`
	}
	all := map[string]host{}
	for i, in := range hosts {
		all[Hosts[i]] = host{in.Host, in.Port}
	}
	b, err := yaml.Marshal(map[string]any{"all": map[string]any{
		"vars":  map[string]any{"ansible_user": "zuul", "ansible_ssh_private_key_file": "/home/zuul/.ssh/id_ed25519"},
		"hosts": all,
	}})
	return string(b), err
}

// connect opens an SSH connection to a host and checks that it is the one that the provider made.
func connect(ctx context.Context, in *provider.Instance, private []byte) (*ssh.Client, error) {
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, k := range in.HostKeys {
		pub, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k))
		if err != nil {
			return nil, fmt.Errorf("host key %q: %w", k, err)
		}
		known[string(pub.Marshal())] = true
	}
	addr := net.JoinHostPort(in.Host, strconv.Itoa(in.Port))
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, addr, &ssh.ClientConfig{
		User: in.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, Timeout: 10 * time.Second,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if !known[string(key.Marshal())] {
				return fmt.Errorf("%s shows a host key that is not its own", addr)
			}
			return nil
		},
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return ssh.NewClient(c, chans, reqs), nil
}

// put writes a file on a host.
func put(c *ssh.Client, path, mode, text string) error {
	s, err := c.NewSession()
	if err != nil {
		return err
	}
	defer s.Close()
	var out bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = strings.NewReader(text), io.Discard, &out
	dir := path[:strings.LastIndexByte(path, '/')]
	cmd := fmt.Sprintf("mkdir -p %s && umask 077 && cat > %s.new && chmod %s %s.new && mv %s.new %s", dir, path, mode, path, path, path)
	if err := s.Run(cmd); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(out.String()))
	}
	return nil
}
