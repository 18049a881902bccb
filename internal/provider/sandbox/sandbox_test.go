package sandbox_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gossh "golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/provider"
	"github.com/gozer-ci/gozer/internal/provider/knock"
	"github.com/gozer-ci/gozer/internal/provider/providertest"
	"github.com/gozer-ci/gozer/internal/provider/sandbox"
)

// The nodes of these tests run this test program, and so does the launcher that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sandbox-node" {
		os.Exit(sandbox.NodeMain(os.Args[2:]))
	}
	if folder := os.Getenv("GOZER_TEST_LAUNCHER"); folder != "" {
		launchAndWait(folder)
	}
	os.Exit(m.Run())
}

func newKey(t *testing.T) (gossh.Signer, string) {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return signer, string(gossh.MarshalAuthorizedKey(signer.PublicKey()))
}

func open(t *testing.T, c sandbox.Config) *sandbox.Provider {
	t.Helper()
	c.Name = "local"
	if c.Folder == "" {
		c.Folder = t.TempDir()
	}
	p, err := sandbox.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// one opens a provider with one node, and gives a way to log in.
func one(t *testing.T) (*provider.Instance, gossh.Signer) {
	t.Helper()
	signer, key := newKey(t)
	p := open(t, sandbox.Config{Labels: []sandbox.Label{{Name: "small"}}})
	return create(t, p, "one", "small", key), signer
}

func create(t *testing.T, p *sandbox.Provider, id, label, key string) *provider.Instance {
	t.Helper()
	i, err := p.Create(t.Context(), provider.Spec{ID: id, Label: label, Keys: []string{key}})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func dial(t *testing.T, a node.Access, user string, signer gossh.Signer) *gossh.Client {
	t.Helper()
	c, err := gossh.Dial("tcp", net.JoinHostPort(a.Host, strconv.Itoa(a.Port)), &gossh.ClientConfig{
		User: user, Auth: []gossh.AuthMethod{gossh.PublicKeys(signer)},
		HostKeyCallback: gossh.InsecureIgnoreHostKey(), // knock.SSH is what looks at it
		Timeout:         2 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// run runs a command on a session of its own.
func run(t *testing.T, c *gossh.Client, command, stdin string) (stdout, stderr string, code int) {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out, errs bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = strings.NewReader(stdin), &out, &errs
	err = s.Run(command)
	var exit *gossh.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitStatus()
	} else if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return out.String(), errs.String(), code
}

func mustRun(t *testing.T, c *gossh.Client, command string) string {
	t.Helper()
	out, errs, code := run(t, c, command, "")
	if code != 0 {
		t.Fatalf("%s: exit status %d: %s", command, code, errs)
	}
	return strings.TrimSpace(out)
}

func TestPromisesOfNodes(t *testing.T) {
	folder := t.TempDir()
	signer, key := newKey(t)
	providertest.Run(t, providertest.Config{
		Label: "small", Max: 3, Keys: []string{key},
		New: func(t *testing.T) provider.Provider {
			return open(t, sandbox.Config{Folder: folder, Labels: []sandbox.Label{{Name: "small", Max: 3}}})
		},
		Reach: func(ctx context.Context, i *provider.Instance) error { return knock.SSH(ctx, i.Access, signer) },
		Gone: func(i *provider.Instance) error {
			if _, err := os.Stat(filepath.Join(folder, "nodes", i.ID)); !os.IsNotExist(err) {
				return fmt.Errorf("its folder is there: %v", err)
			}
			if procs := processesOf(filepath.Join(folder, "nodes", i.ID)); len(procs) > 0 {
				return fmt.Errorf("processes are there: %v", procs)
			}
			ln, err := net.Listen("tcp", net.JoinHostPort(i.Host, strconv.Itoa(i.Port)))
			if err != nil {
				return fmt.Errorf("its address is taken: %w", err)
			}
			return ln.Close()
		},
	})
}

func TestPromisesOfHosts(t *testing.T) {
	signer, key := newKey(t)
	providertest.Run(t, providertest.Config{
		Label: "service", Max: 3, Keys: []string{key},
		New: func(t *testing.T) provider.Provider {
			return open(t, sandbox.Config{Hosts: []sandbox.Host{
				{Name: "a1", Labels: []string{"service"}, Slots: 2}, {Name: "b1", Labels: []string{"service"}},
			}})
		},
		Reach: func(ctx context.Context, i *provider.Instance) error { return knock.SSH(ctx, i.Access, signer) },
	})
}

// processesOf finds processes with a string in their arguments.
func processesOf(what string) (found []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range all {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(what)) {
			found = append(found, f)
		}
	}
	return found
}

func TestNodesKnowEachOther(t *testing.T) {
	signer, key := newKey(t)
	p := open(t, sandbox.Config{
		Labels: []sandbox.Label{{Name: "small"}},
		Hosts:  []sandbox.Host{{Name: "gitea01"}},
	})
	a, g := create(t, p, "a", "small", key), create(t, p, "g", "gitea01", key)
	onG := dial(t, g.Access, "zuul", signer)
	mustRun(t, onG, `cd /srv && echo served > page && (setsid python3 -m http.server 8080 --bind gitea01 >/dev/null 2>&1 &)`)
	got := mustRun(t, dial(t, a.Access, "zuul", signer),
		`for i in $(seq 600); do python3 -c 'import urllib.request as u; print(u.urlopen("http://gitea01:8080/page").read().decode())' 2>/dev/null && exit; sleep 0.05; done; exit 1`)
	if got != "served" {
		t.Errorf("a node reads %q from a service of a host", got)
	}
	if a.HostID != "a" || g.HostID != "gitea01" {
		t.Errorf("host names %q and %q", a.HostID, g.HostID)
	}
	if err := p.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if hosts := mustRun(t, onG, "cat /etc/hosts"); strings.Contains(hosts, a.Host) || !strings.Contains(hosts, g.Host+" gitea01") {
		t.Errorf("after a node went, another has in /etc/hosts:\n%s", hosts)
	}
}

func TestHostsSurviveRestarts(t *testing.T) {
	signer, key := newKey(t)
	folder := t.TempDir()
	c := sandbox.Config{Folder: folder, Hosts: []sandbox.Host{{Name: "bridge01", Slots: 2}}}
	p := open(t, c)
	create(t, p, "zero", "bridge01", key)
	before := create(t, p, "one", "bridge01", key)
	ssh := dial(t, before.Access, "root", signer)
	mustRun(t, ssh, `echo kept > /srv/file; touch /run/stale; useradd -m gitea || true
		printf '#!/bin/sh\nsetsid sleep 3600 &\necho $! > /run/service.pid\n' > /etc/gozer/boot.d/10-service
		chmod +x /etc/gozer/boot.d/10-service; echo 'not run' > /etc/gozer/boot.d/20-readme`)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if left := processesOf(folder); len(left) > 0 {
		t.Errorf("after Close there are %v", left)
	}

	p = open(t, c)
	other, err := p.Describe(t.Context(), "zero")
	if err != nil || !other.Up {
		t.Fatalf("a slot that was taken before the restart: %+v, %v", other, err)
	}
	after := create(t, p, "one", "bridge01", key)
	if after.HostKeys[0] != before.HostKeys[0] {
		t.Error("the host has another key")
	}
	if after.Slot != 1 || other.Slot != 0 {
		t.Errorf("slots are %d and %d after a restart, were 0 and 1", other.Slot, after.Slot)
	}
	ssh = dial(t, after.Access, "root", signer)
	got := mustRun(t, ssh, `cat /srv/file; ls /run/stale 2>/dev/null; id -un gitea
		for i in $(seq 2400); do [ -s /run/service.pid ] && kill -0 $(cat /run/service.pid) && echo running && exit; sleep 0.05; done`)
	if got != "kept\ngitea\nrunning" {
		t.Errorf("after a restart the host says %q", got)
	}
}

// Hosts are known to each other by address: while one Gozer is down, another one must not take its addresses.
func TestHostsKeepTheirAddresses(t *testing.T) {
	hosts := []sandbox.Host{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	addresses := func(p *sandbox.Provider) (out []string) {
		for _, h := range hosts {
			out = append(out, create(t, p, "on-"+h.Name, h.Name, "").Host)
		}
		return out
	}
	mine := sandbox.Config{Folder: t.TempDir(), Hosts: hosts}
	p := open(t, mine)
	before := addresses(p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	// Where another one begins depends on its folder: now and then, one in ten thousand, that is among mine.
	for range 3 {
		if !slices.ContainsFunc(addresses(open(t, sandbox.Config{Hosts: hosts})), func(a string) bool { return slices.Contains(before, a) }) {
			break
		}
	}
	if diff := cmp.Diff(before, addresses(open(t, mine))); diff != "" {
		t.Errorf("after a restart they have other addresses:\n%s", diff)
	}
}

// launchAndWait is a process that opens a provider, makes a node, says so and waits to be killed.
func launchAndWait(folder string) {
	p, err := sandbox.Open(context.Background(), sandbox.Config{
		Name: "local", Folder: folder,
		Labels: []sandbox.Label{{Name: "small"}}, Hosts: []sandbox.Host{{Name: "host01"}},
	})
	if err == nil {
		_, err = p.Create(context.Background(), provider.Spec{ID: "one", Label: "small", Keys: []string{os.Getenv("GOZER_TEST_KEY")}})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	i, _ := p.Describe(context.Background(), "one")
	fmt.Println(i.Host, i.Port)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test is gone
	os.Exit(1)
}

func TestNothingIsLeftOfAKilledLauncher(t *testing.T) {
	signer, key := newKey(t)
	folder := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GOZER_TEST_LAUNCHER="+folder, "GOZER_TEST_KEY="+key)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var a node.Access
	_, err = fmt.Fscan(out, &a.Host, &a.Port)
	if err == nil {
		mustRun(t, dial(t, a, "zuul", signer), "(setsid nohup sleep 3600 >/dev/null 2>&1 &) ; touch /srv/file")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	for range 3000 {
		if len(processesOf(folder)) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if left := processesOf(folder); len(left) > 0 {
		t.Fatalf("after the launcher was killed there are %v", left)
	}
	p := open(t, sandbox.Config{Folder: folder, Labels: []sandbox.Label{{Name: "small"}}})
	if _, err := p.Describe(t.Context(), "one"); !errors.Is(err, provider.ErrNotFound) {
		t.Errorf("Describe of a node of the killed launcher: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(folder, "nodes")); len(left) > 0 {
		t.Errorf("its folder is there: %v", left)
	}
}

func TestFolderIsNotShared(t *testing.T) {
	folder := t.TempDir()
	open(t, sandbox.Config{Folder: folder})
	_, err := sandbox.Open(t.Context(), sandbox.Config{Name: "other", Folder: folder})
	if err == nil || !strings.Contains(err.Error(), "another Gozer uses "+folder) {
		t.Errorf("a second provider on one folder: %v", err)
	}
}

// What was in the hands of a host's users must not lead the provider out of its root folder.
func TestLinksLeadNowhere(t *testing.T) {
	signer, key := newKey(t)
	folder, outside := t.TempDir(), t.TempDir()
	victim := filepath.Join(outside, "file")
	if err := os.WriteFile(victim, []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := sandbox.Config{Folder: folder, ReadOnly: []string{outside}, Hosts: []sandbox.Host{{Name: "h1"}}}
	p := open(t, c)
	i := create(t, p, "one", "h1", key)
	mustRun(t, dial(t, i.Access, "root", signer), fmt.Sprintf(`ln -sf %s /etc/hosts; ln -sfn %s /home/zuul/.ssh/authorized_keys`, victim, victim))
	_ = p.Close()
	p = open(t, c)
	_, err := p.Create(t.Context(), provider.Spec{ID: "one", Label: "h1", Keys: []string{key}})
	if err == nil {
		t.Error("keys were written through a link")
	}
	if b, _ := os.ReadFile(victim); string(b) != "untouched" {
		t.Errorf("a file outside of the root folder now has %q", b)
	}
}

func TestFeatures(t *testing.T) {
	signer, key := newKey(t)
	p := open(t, sandbox.Config{
		Features: []sandbox.Feature{
			{Name: "fips", Files: map[string]string{"/etc/crypto-policies/state/current": "FIPS\n"}, Verify: "/etc/crypto-policies/state/current", Want: "FIPS"},
			{Name: "broken", Files: map[string]string{"/etc/broken": "no\n"}, Verify: "/etc/broken", Want: "yes"},
		},
		Labels: []sandbox.Label{{Name: "small", Features: []string{"fips", "broken"}}},
	})
	i := create(t, p, "one", "small", key)
	if fmt.Sprint(i.Features) != "[fips]" {
		t.Errorf("the node has features %v, want only the one that could be verified", i.Features)
	}
	if got := mustRun(t, dial(t, i.Access, "zuul", signer), "cat /etc/crypto-policies/state/current"); got != "FIPS" {
		t.Errorf("the node sees %q", got)
	}
}

func TestSettingsThatMakeNoSense(t *testing.T) {
	for want, c := range map[string]sandbox.Config{
		`label "a" is there twice`: {Labels: []sandbox.Label{{Name: "a"}, {Name: "a"}}},
		`is of fresh nodes and of`: {Labels: []sandbox.Label{{Name: "a"}}, Hosts: []sandbox.Host{{Name: "a"}}},
		`is no host name`:          {Hosts: []sandbox.Host{{Name: "../a"}}},
	} {
		c.Name, c.Folder = "local", t.TempDir()
		if p, err := sandbox.Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open: %v, want an error with %q", err, want)
			if p != nil {
				_ = p.Close()
			}
		}
	}
}

func TestMissingBubblewrapSaysWhatToDo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if err := sandbox.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "apt-get install bubblewrap") {
		t.Errorf("Check: %v", err)
	}
}

// As root these tests have many user ids; here they run as somebody who has one.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("every test here ran as an ordinary user")
	}
	dir, err := os.MkdirTemp("", "gozer-ordinary-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program := filepath.Join(dir, "test")
	b, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = errors.Join(os.WriteFile(program, b, 0o755), os.Mkdir(dir+"/tmp", 0o777), os.Chmod(dir, 0o755), os.Chmod(dir+"/tmp", 0o777), os.Chmod(program, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run", "^(TestPromisesOfNodes|TestSessions|TestSudo|TestHostsSurviveRestarts)$")
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir + "/tmp", "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as user 65534: %v\n%s", err, out)
	}
}
