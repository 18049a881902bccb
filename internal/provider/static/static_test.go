package static_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/provider"
	"github.com/gozer-ci/gozer/internal/provider/knock"
	"github.com/gozer-ci/gozer/internal/provider/providertest"
	"github.com/gozer-ci/gozer/internal/provider/sandbox"
	"github.com/gozer-ci/gozer/internal/provider/static"
)

// The hosts of these tests are sandbox nodes that run this test program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sandbox-node" {
		os.Exit(sandbox.NodeMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// machines starts two hosts that let the signer in.
func machines(t *testing.T) (a, b node.Access, signer gossh.Signer) {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if signer, err = gossh.NewSignerFromKey(priv); err != nil {
		t.Fatal(err)
	}
	p, err := sandbox.Open(t.Context(), sandbox.Config{Name: "local", Folder: t.TempDir(), Labels: []sandbox.Label{{Name: "machine"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	var at [2]node.Access
	for n, id := range []string{"a", "b"} {
		i, err := p.Create(t.Context(), provider.Spec{ID: id, Label: "machine", Keys: []string{string(gossh.MarshalAuthorizedKey(signer.PublicKey()))}})
		if err != nil {
			t.Fatal(err)
		}
		at[n] = i.Access
		at[n].HostID, at[n].Cloud = "", ""
	}
	return at[0], at[1], signer
}

func open(t *testing.T, c static.Config) *static.Provider {
	t.Helper()
	c.Name = "lab"
	if c.Folder == "" {
		c.Folder = t.TempDir()
	}
	p, err := static.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPromises(t *testing.T) {
	a, b, signer := machines(t)
	providertest.Run(t, providertest.Config{
		Label: "lab", Max: 3,
		New: func(t *testing.T) provider.Provider {
			return open(t, static.Config{Signer: signer, Hosts: []static.Host{
				{Name: "a", Labels: []string{"lab"}, Slots: 2, Access: a}, {Name: "b", Labels: []string{"lab"}, Access: b},
			}})
		},
		Reach: func(ctx context.Context, i *provider.Instance) error { return knock.SSH(ctx, i.Access, signer) },
	})
}

func TestAnotherHostKey(t *testing.T) {
	a, b, signer := machines(t)
	a.HostKeys = b.HostKeys
	hosts := []static.Host{{Name: "a", Labels: []string{"lab"}, Access: a}}
	p := open(t, static.Config{Signer: signer, Hosts: hosts})
	_, err := p.Create(t.Context(), provider.Spec{ID: "one", Label: "lab"})
	if !errors.Is(err, knock.ErrHostKey) || !strings.Contains(err.Error(), "host a: ") {
		t.Errorf("Create on a host that shows another key: %v", err)
	}
	if left, _ := p.List(t.Context()); len(left) != 0 {
		t.Errorf("a slot is taken: %v", left)
	}
	// With another host beside it, that one is used.
	p = open(t, static.Config{Signer: signer, Hosts: append(hosts, static.Host{Name: "b", Labels: []string{"lab"}, Access: b})})
	if i, err := p.Create(t.Context(), provider.Spec{ID: "one", Label: "lab"}); err != nil || i.HostID != "b" {
		t.Errorf("Create with a good host beside it: %v, %v", i, err)
	}
}

func TestSilentHostIsLeftAloneForAWhile(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	looks := make(chan struct{}, 10)
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			looks <- struct{}{}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close() })
	p := open(t, static.Config{Timeout: time.Second, Hosts: []static.Host{{Name: "a", Labels: []string{"lab"}, Access: node.Access{
		Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, User: "zuul", HostKeys: []string{"ssh-ed25519 AAAA"},
	}}}})
	for range 5 {
		if _, err := p.Create(t.Context(), provider.Spec{ID: "one", Label: "lab"}); err == nil {
			t.Fatal("a host that hangs up was handed out")
		}
	}
	if n := len(looks); n != 1 {
		t.Errorf("it was looked at %d times in a row, want once", n)
	}
	_, err = p.Create(t.Context(), provider.Spec{ID: "one", Label: "lab"})
	if !strings.Contains(err.Error(), "looked at again in") || errors.Is(err, provider.ErrQuota) {
		t.Errorf("the reason is %v", err)
	}
}

func TestSlotsOutliveTheProcess(t *testing.T) {
	a, _, signer := machines(t)
	c := static.Config{Signer: signer, Folder: t.TempDir(), Hosts: []static.Host{{Name: "a", Labels: []string{"lab"}, Access: a}}}
	if _, err := open(t, c).Create(t.Context(), provider.Spec{ID: "one", Label: "lab"}); err != nil {
		t.Fatal(err)
	}
	p := open(t, c)
	if _, err := p.Create(t.Context(), provider.Spec{ID: "two", Label: "lab"}); !errors.Is(err, provider.ErrQuota) {
		t.Errorf("the only slot was given twice: %v", err)
	}
	if i, err := p.Describe(t.Context(), "one"); err != nil || i.HostID != "a" || !i.Up {
		t.Errorf("Describe: %+v, %v", i, err)
	}
	c.Hosts = nil
	if left, _ := open(t, c).List(t.Context()); len(left) != 0 {
		t.Errorf("slots of a host that is no longer there: %v", left)
	}
}

func TestHostWithoutAKeyIsRefused(t *testing.T) {
	_, err := static.Open(static.Config{Name: "lab", Folder: t.TempDir(), Hosts: []static.Host{{Name: "a", Access: node.Access{Host: "192.0.2.1"}}}})
	if err == nil || !strings.Contains(err.Error(), "ssh-keyscan 192.0.2.1") {
		t.Errorf("Open: %v", err)
	}
}
