// Package cluster runs a whole Gozer of many processes on this machine: a three-member etcd, schedulers,
// mergers, executors and webs of their own, and a real PostgreSQL. It is for trying what several machines
// are for, and for proving that nothing is lost when they fail. Everything that it starts it stops.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config of Start. Dir and Program are required.
type Config struct {
	// Program is the gozer to run.
	Program string
	// Dir is the folder of everything; Start makes it.
	Dir string
	// Lease of the processes; 0 is 4 s.
	Lease time.Duration
	// How many there are of each; 0 is 3 schedulers and 2 of the others.
	Schedulers, Mergers, Executors, Webs int
	// Say tells people what happens; nil tells nobody.
	Say func(format string, args ...any)
}

// Cluster is what runs.
type Cluster struct {
	Config
	// Procs in the order in which they were started.
	Procs []*Proc
	// Webs are the addresses of the pages.
	Pages []string
	// History is the URL of the database.
	History string
	// Endpoints of etcd.
	Endpoints []string

	postgres *exec.Cmd
	admin    string
}

// Proc is one process of the cluster. Its methods may be called from several goroutines.
type Proc struct {
	Name, Role string

	program string
	args    []string
	log     string
	probe   string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// Start starts everything and waits until it is ready. What it started is stopped again where it fails.
func Start(ctx context.Context, c Config) (_ *Cluster, err error) {
	set := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	set(&c.Schedulers, 3)
	set(&c.Mergers, 2)
	set(&c.Executors, 2)
	set(&c.Webs, 2)
	if c.Lease == 0 {
		c.Lease = 4 * time.Second
	}
	if c.Say == nil {
		c.Say = func(string, ...any) {}
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, err
	}
	k := &Cluster{Config: c, admin: "cluster-admin"}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.Close())
		}
	}()
	if err := k.tenants(); err != nil {
		return nil, err
	}
	if err := k.startPostgres(ctx); err != nil {
		return nil, err
	}
	c.Say("PostgreSQL at %s", k.History)
	if err := k.startStores(ctx); err != nil {
		return nil, err
	}
	c.Say("etcd: three members at %s", strings.Join(k.Endpoints, ", "))
	for _, r := range []struct {
		role, roles string
		n           int
	}{{"web", "web", c.Webs}, {"merger", "merger,reporter", c.Mergers}, {"scheduler", "scheduler,history", c.Schedulers}, {"executor", "executor,launcher", c.Executors}} {
		for i := range r.n {
			if err := k.startRole(r.role, r.roles, i+1); err != nil {
				return nil, err
			}
		}
	}
	if err := k.fill(ctx); err != nil {
		return nil, err
	}
	for _, p := range k.Procs {
		if err := p.waitReady(ctx); err != nil {
			return nil, err
		}
	}
	c.Say("%d schedulers, %d mergers, %d executors, %d webs: %s", c.Schedulers, c.Mergers, c.Executors, c.Webs, strings.Join(k.Pages, " "))
	return k, nil
}

// startStores starts the three members of etcd, one after the other: a member joins a cluster that is whole.
func (k *Cluster) startStores(ctx context.Context) error {
	var clients, peers []string
	for range 3 {
		clients, peers = append(clients, freeAddr()), append(peers, freeAddr())
	}
	k.Endpoints = clients
	for i := range 3 {
		name := fmt.Sprintf("etcd%d", i+1)
		store := fmt.Sprintf("store:\n  lease: %s\n  member: {name: %s, clients: %q, peers: %q}\n", k.Lease, name, clients[i], peers[i])
		p, err := k.proc(name, "store", "store", store, "")
		if err != nil {
			return err
		}
		if i > 0 {
			p.args = append(p.args, "--join", strings.Join(clients[:i], ","))
		}
		if err := p.Start(); err != nil {
			return err
		}
		if err := p.waitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (k *Cluster) startRole(role, roles string, n int) error {
	listen := ""
	if role == "web" {
		listen = freeAddr()
		k.Pages = append(k.Pages, "http://"+listen)
	}
	store := fmt.Sprintf("store:\n  lease: %s\n  etcd: {endpoints: [%s]}\n", k.Lease, strings.Join(k.Endpoints, ", "))
	p, err := k.proc(fmt.Sprintf("%s%d", role, n), role, roles, store, listen)
	if err != nil {
		return err
	}
	return p.Start()
}

// proc writes the configuration of a process, which has a folder of its own.
func (k *Cluster) proc(name, role, roles, store, listen string) (*Proc, error) {
	p := &Proc{Name: name, Role: role, program: k.Program, log: filepath.Join(k.Dir, name+".log")}
	file := filepath.Join(k.Dir, name+".yaml")
	p.args = []string{"server", "--config", file, "--roles", roles}
	var b strings.Builder
	fmt.Fprintf(&b, "data: %s\n", filepath.Join(k.Dir, "data", name))
	if listen != "" {
		p.probe = listen
		fmt.Fprintf(&b, "listen: %s\n", listen)
	} else {
		p.probe = freeAddr()
		fmt.Fprintf(&b, "probe: %s\n", p.probe)
	}
	root := ""
	if len(k.Pages) > 0 {
		root = k.Pages[0]
	}
	if root != "" {
		fmt.Fprintf(&b, "root: %s/\n", root)
	}
	fmt.Fprintf(&b, "tenants: %s\n%s", filepath.Join(k.Dir, "tenants.yaml"), store)
	fmt.Fprintf(&b, "history: {url: %q}\nblobs: {url: %q}\n", k.History, "file://"+filepath.Join(k.Dir, "blobs"))
	fmt.Fprintf(&b, "connections:\n- {name: local, driver: local, path: %s, admin: %s, projects: [%s]}\n",
		filepath.Join(k.Dir, "forge"), k.admin, strings.Join(append([]string{"config"}, Projects...), ", "))
	fmt.Fprintf(&b, "executor: {builds: 8}\n")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	k.Procs = append(k.Procs, p)
	return p, nil
}

// Start starts the process, or starts it again after it ended.
func (p *Proc) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.program, p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, so that Ctrl-C reaches it through us; and it does not outlive us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() { _ = cmd.Wait(); close(done) }() // ends with the process, which Close ends
	return nil
}

// Signal sends a signal to the process: SIGSTOP, SIGCONT, SIGKILL, SIGTERM.
func (p *Proc) Signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Signal(s)
}

// Alive tells whether the process runs.
func (p *Proc) Alive() bool {
	select {
	case <-p.ended():
		return false
	default:
		return true
	}
}

func (p *Proc) ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// Wait waits until the process has ended; false where it has not after d.
func (p *Proc) Wait(d time.Duration) bool {
	select {
	case <-p.ended():
		return true
	case <-time.After(d):
		return false
	}
}

// waitReady asks the process until it says that it is ready; waitAnswer, until it says anything.
func (p *Proc) waitReady(ctx context.Context) error  { return p.wait(ctx, "/health/ready") }
func (p *Proc) waitAnswer(ctx context.Context) error { return p.wait(ctx, "/health/live") }

func (p *Proc) wait(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	last := "it does not answer"
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.probe+path, nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			b, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			last = strings.TrimSpace(string(b))
		}
		if !p.Alive() {
			return fmt.Errorf("%s ended: %s", p.Name, tail(p.log))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready (%s): %s", p.Name, last, tail(p.log))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func tail(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-1500):]))
}

// Close stops everything: the workers first, then the store and the database.
func (k *Cluster) Close() error {
	var errs []error
	stop := func(stores bool) {
		var g sync.WaitGroup
		for _, p := range k.Procs {
			if p.cmd == nil || (p.Role == "store") != stores {
				continue
			}
			g.Go(func() {
				_ = p.Signal(syscall.SIGCONT)
				_ = p.Signal(syscall.SIGTERM)
				if !p.Wait(15 * time.Second) {
					_ = p.Signal(syscall.SIGKILL)
					p.Wait(5 * time.Second)
				}
			})
		}
		g.Wait()
	}
	stop(false)
	stop(true)
	if k.postgres != nil {
		_ = k.postgres.Process.Signal(os.Interrupt)
		errs = append(errs, ignoreExit(k.postgres.Wait()))
	}
	return errors.Join(errs...)
}

func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// freeAddr finds a port of loopback that nobody listens on.
func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // loopback is always there
	}
	defer l.Close()
	return l.Addr().String()
}
