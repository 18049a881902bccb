// Package static is a provider of hosts that are there already. It makes nothing: an instance is a slot
// of a host, taken and given back. The operator has put Gozer's public key on the hosts and written
// their host keys into the settings; a host that shows another is not used, and the reason says so.
//
// Which slots are taken is kept in a file, so that a restart does not give one to two builds.
package static

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/provider"
	"github.com/gozer-ci/gozer/internal/provider/knock"
)

// Host is a machine that is there.
type Host struct {
	Name   string
	Labels []string
	// Slots is how many builds may use it at once; 0 is one.
	Slots int
	// Access says how to reach it. Port 0 is 22; HostKeys must not be empty.
	node.Access
}

// Config of a Provider. Name, Folder and Hosts are required.
type Config struct {
	Name string
	// Folder keeps the record of taken slots.
	Folder string
	Hosts  []Host
	// Signer, where set, is used to log in when a host is looked at; without it only the host key is.
	Signer gossh.Signer
	// Timeout of one look at a host; 0 is ten seconds.
	Timeout time.Duration
	// Fresh is for how long a host that answered is not looked at again; 0 is half a minute.
	Fresh time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// Provider hands out slots of hosts; it implements provider.Provider.
type Provider struct {
	cfg Config

	mu    sync.Mutex
	hosts []*host
	slots map[string]slot // by instance ID
}

var _ provider.Provider = (*Provider)(nil)

// host is a host and what was seen of it.
type host struct {
	Host
	look     sync.Mutex // one looks at a time
	seen     time.Time  // when it answered last
	failures int
	retry    time.Time
	err      error
}

// slot is a line of the record.
type slot struct {
	Host  string `json:"host"`
	Slot  int    `json:"slot"`
	Label string `json:"label"`
}

// Backoff between looks at a host that does not answer: doubled each time.
const (
	firstPause = time.Second
	maxPause   = 5 * time.Minute
)

// Open reads the record of taken slots. Slots of hosts that are no longer there are forgotten.
func Open(c Config) (*Provider, error) {
	p := &Provider{cfg: c, slots: map[string]slot{}}
	if p.cfg.Log == nil {
		p.cfg.Log = slog.New(slog.DiscardHandler)
	}
	p.cfg.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	p.cfg.Fresh = cmp.Or(c.Fresh, 30*time.Second)
	for _, h := range c.Hosts {
		h.Slots, h.Port, h.Connection = max(h.Slots, 1), cmp.Or(h.Port, 22), cmp.Or(h.Connection, "ssh")
		h.HostID, h.Cloud = h.Name, cmp.Or(h.Cloud, c.Name)
		if len(h.HostKeys) == 0 {
			return nil, fmt.Errorf("static provider %s: host %s has no host key: put in what `ssh-keyscan %s` shows, after comparing it", c.Name, h.Name, h.Access.Host)
		}
		if slices.ContainsFunc(p.hosts, func(o *host) bool { return o.Name == h.Name }) {
			return nil, fmt.Errorf("static provider %s: host %s is there twice", c.Name, h.Name)
		}
		p.hosts = append(p.hosts, &host{Host: h})
	}
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("static provider %s: %w", c.Name, err)
	}
	b, err := os.ReadFile(p.file())
	if err == nil {
		err = json.Unmarshal(b, &p.slots)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("static provider %s: read %s: %w", c.Name, p.file(), err)
	}
	for id, s := range p.slots {
		if h := p.host(s.Host); h == nil || s.Slot >= h.Slots {
			delete(p.slots, id)
		}
	}
	return p, nil
}

func (p *Provider) file() string { return filepath.Join(p.cfg.Folder, "slots.json") }

func (p *Provider) host(name string) *host {
	for _, h := range p.hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// Name is the provider's.
func (p *Provider) Name() string { return p.cfg.Name }

// Labels are those of the hosts, each with as many slots as its hosts have.
func (p *Provider) Labels() []provider.Label {
	var out []provider.Label
	for _, h := range p.hosts {
		for _, l := range h.Labels {
			i := slices.IndexFunc(out, func(o provider.Label) bool { return o.Name == l })
			if i < 0 {
				out = append(out, provider.Label{Name: l, Reused: true, Features: h.Features})
				i = len(out) - 1
			}
			out[i].Max += h.Slots
			out[i].Features = slices.DeleteFunc(slices.Clone(out[i].Features), func(f string) bool { return !slices.Contains(h.Features, f) })
		}
	}
	return out
}

// Create takes a slot on the first host with the label that has one and answers; see provider.Provider.
func (p *Provider) Create(ctx context.Context, s provider.Spec) (*provider.Instance, error) {
	if i, err := p.Describe(ctx, s.ID); err == nil {
		return i, nil
	}
	var with []*host
	for _, h := range p.hosts {
		if slices.Contains(h.Labels, s.Label) {
			with = append(with, h)
		}
	}
	if len(with) == 0 {
		return nil, fmt.Errorf("provider %s has no label %q: %w", p.cfg.Name, s.Label, provider.ErrImpossible)
	}
	var silent []error
	for _, h := range with {
		taken, err := p.take(h, s)
		if err != nil {
			return nil, err
		}
		if !taken {
			continue
		}
		if err := p.check(ctx, h); err != nil {
			silent = append(silent, fmt.Errorf("host %s: %w", h.Name, err))
			if err := p.Delete(ctx, s.ID); err != nil {
				return nil, err
			}
			continue
		}
		return p.Describe(ctx, s.ID)
	}
	if len(silent) > 0 {
		return nil, errors.Join(silent...)
	}
	return nil, fmt.Errorf("every slot of the hosts with label %s is taken: %w", s.Label, provider.ErrQuota)
}

// take takes a slot of h, if there is one; the instance that has one already keeps it.
func (p *Provider) take(h *host, s provider.Spec) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if have, ok := p.slots[s.ID]; ok {
		return have.Host == h.Name, nil
	}
	for n := range h.Slots {
		free := true
		for _, o := range p.slots {
			free = free && (o.Host != h.Name || o.Slot != n)
		}
		if free {
			p.slots[s.ID] = slot{h.Name, n, s.Label}
			return true, p.save()
		}
	}
	return false, nil
}

// save writes the record; p.mu is held.
func (p *Provider) save() error {
	b, err := json.MarshalIndent(p.slots, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.file()+".new", b, 0o600); err != nil {
		return fmt.Errorf("static provider %s: %w", p.cfg.Name, err)
	}
	return os.Rename(p.file()+".new", p.file())
}

// check looks whether a host answers with its key, unless it did a moment ago, or failed a moment ago.
func (p *Provider) check(ctx context.Context, h *host) error {
	h.look.Lock()
	defer h.look.Unlock()
	now := time.Now()
	switch {
	case h.err != nil && now.Before(h.retry):
		return fmt.Errorf("%w (looked at again in %v)", h.err, h.retry.Sub(now).Round(time.Second))
	case h.err == nil && !h.seen.IsZero() && now.Sub(h.seen) < p.cfg.Fresh:
		return nil
	}
	lctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	err := knock.SSH(lctx, h.Access, p.cfg.Signer)
	if err == nil {
		h.err, h.failures, h.seen = nil, 0, time.Now()
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) // it was us who had no time
	}
	h.err = err
	h.retry = time.Now().Add(min(firstPause<<min(h.failures, 10), maxPause))
	h.failures++
	p.cfg.Log.Warn("host cannot be used", "provider", p.cfg.Name, "host", h.Name, "failures", h.failures, "err", err)
	return err
}

// Describe tells how the host of an instance is; see provider.Provider.
func (p *Provider) Describe(ctx context.Context, id string) (*provider.Instance, error) {
	p.mu.Lock()
	s, ok := p.slots[id]
	p.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("node %s: %w", id, provider.ErrNotFound)
	}
	i := p.instance(id, s)
	if err := p.check(ctx, p.host(s.Host)); err != nil {
		i.Up, i.Why = false, err.Error()
	}
	return &i, nil
}

func (p *Provider) instance(id string, s slot) provider.Instance {
	a := p.host(s.Host).Access
	a.Slot = s.Slot
	a.Features = nil // they are promised; whoever hands the node out looks
	return provider.Instance{ID: id, Label: s.Label, Up: true, Access: a}
}

// Delete gives the slot back; see provider.Provider.
func (p *Provider) Delete(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.slots[id]; !ok {
		return nil
	}
	delete(p.slots, id)
	return p.save()
}

// List names the taken slots, by ID. It does not look at the hosts: Up is as they were last seen.
func (p *Provider) List(context.Context) ([]provider.Instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []provider.Instance
	for id, s := range p.slots {
		out = append(out, p.instance(id, s))
	}
	slices.SortFunc(out, func(a, b provider.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}
