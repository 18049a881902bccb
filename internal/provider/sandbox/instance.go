package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/gozer-ci/gozer/internal/provider"
)

// instance is a fresh node, or a slot of a host.
type instance struct {
	id, label string
	// host is nil for fresh nodes.
	host *host
	slot int
	// machine is nil until its folder is there.
	machine *machine
	// busy is held by whoever makes or deletes it.
	busy chan struct{}
}

// host is a machine that lasts, and who is on it.
type host struct {
	cfg     Host
	machine *machine
	slots   []string // instance IDs; "" is free; guarded by Provider.mu
}

func newHost(h Host) *host {
	h.Slots = max(h.Slots, 1)
	return &host{cfg: h, slots: make([]string, h.Slots)}
}

// Create makes a node, or takes a slot of a host; see provider.Provider. When it returns, SSH answers.
func (p *Provider) Create(ctx context.Context, s provider.Spec) (*provider.Instance, error) {
	if !validName.MatchString(s.ID) {
		return nil, fmt.Errorf("%q cannot be the name of a node: %w", s.ID, provider.ErrImpossible)
	}
	i, err := p.reserve(s)
	if err != nil {
		return nil, err
	}
	if err := i.lock(ctx); err != nil {
		return nil, err
	}
	defer i.unlock()
	if p.instance(s.ID) != i {
		return nil, fmt.Errorf("node %s was deleted while it was made", s.ID)
	}
	if err := p.make(ctx, i, s.Keys); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%w: %w", provider.ErrQuota, err) // nodes that go make room
		}
		return nil, errors.Join(err, p.destroy(i))
	}
	return p.describe(i), nil
}

// reserve finds the instance, or makes room for it.
func (p *Provider) reserve(s provider.Spec) (*instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("provider %s is closed", p.cfg.Name)
	}
	if i := p.instances[s.ID]; i != nil {
		return i, nil
	}
	i := &instance{id: s.ID, label: s.Label, busy: make(chan struct{}, 1)}
	l := slices.IndexFunc(p.cfg.Labels, func(l Label) bool { return l.Name == s.Label })
	if l >= 0 {
		if maxNodes := p.cfg.Labels[l].Max; maxNodes > 0 && p.count(s.Label) >= maxNodes {
			return nil, fmt.Errorf("%d nodes of label %s are there: %w", maxNodes, s.Label, provider.ErrQuota)
		}
	} else if err := p.takeSlot(i); err != nil {
		return nil, err
	}
	p.instances[s.ID] = i
	if i.host == nil {
		return i, nil
	}
	if err := p.saveSlots(); err != nil {
		p.leave(i)
		return nil, err
	}
	return i, nil
}

// leave forgets an instance; p.mu is held.
func (p *Provider) leave(i *instance) {
	delete(p.instances, i.id)
	if i.host != nil {
		i.host.slots[i.slot] = ""
	}
}

// takeSlot finds the host with the most free slots; p.mu is held.
func (p *Provider) takeSlot(i *instance) error {
	known, most := false, 0
	for _, h := range p.sortedHosts() {
		if !slices.Contains(h.cfg.Labels, i.label) {
			continue
		}
		known = true
		free := 0
		for _, s := range h.slots {
			if s == "" {
				free++
			}
		}
		if free > most {
			most, i.host = free, h
		}
	}
	switch {
	case !known:
		return fmt.Errorf("provider %s has no label %q: %w", p.cfg.Name, i.label, provider.ErrImpossible)
	case i.host == nil:
		return fmt.Errorf("every slot of the hosts with label %s is taken: %w", i.label, provider.ErrQuota)
	}
	i.slot = slices.Index(i.host.slots, "")
	i.host.slots[i.slot] = i.id
	i.machine = i.host.machine
	return nil
}

func (p *Provider) count(label string) (n int) {
	for _, i := range p.instances {
		if i.label == label {
			n++
		}
	}
	return n
}

// make brings the instance up; it is locked.
func (p *Provider) make(ctx context.Context, i *instance, keys []string) error {
	if i.host != nil {
		up, _, _ := i.machine.state()
		if err := p.boot(ctx, i.machine, i.host.cfg.Features, keys, true); err != nil {
			return err
		}
		if !up {
			p.writeHostsFiles() // it had ended, and may have another address now
		}
		return nil
	}
	label := p.cfg.Labels[slices.IndexFunc(p.cfg.Labels, func(l Label) bool { return l.Name == i.label })]
	if i.machine == nil {
		m, err := p.openMachine(filepath.Join(p.nodesFolder(), i.id), i.id)
		if err != nil {
			return fmt.Errorf("make the folder of node %s: %w", i.id, err)
		}
		m.ownUser = label.OwnUser
		p.mu.Lock()
		i.machine = m
		p.mu.Unlock()
	}
	if err := p.boot(ctx, i.machine, label.Features, keys, false); err != nil {
		return err
	}
	p.writeHostsFiles()
	return nil
}

// Describe tells how an instance is; see provider.Provider.
func (p *Provider) Describe(_ context.Context, id string) (*provider.Instance, error) {
	i := p.instance(id)
	if i == nil {
		return nil, fmt.Errorf("node %s: %w", id, provider.ErrNotFound)
	}
	return p.describe(i), nil
}

func (p *Provider) instance(id string) *instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.instances[id]
}

func (p *Provider) describe(i *instance) *provider.Instance {
	out := &provider.Instance{ID: i.id, Label: i.label}
	p.mu.Lock()
	m := i.machine
	p.mu.Unlock()
	if m == nil {
		out.Why = "its folder is being made"
		return out
	}
	out.Access, out.Up = p.access(m)
	out.Slot = i.slot
	if !out.Up {
		out.Why = "its processes have ended" + tail(m.path("log"))
	}
	return out
}

// Delete ends a node and removes its folder, or frees the slot; see provider.Provider.
func (p *Provider) Delete(ctx context.Context, id string) error {
	i := p.instance(id)
	if i == nil {
		return nil
	}
	if err := i.lock(ctx); err != nil {
		return err
	}
	defer i.unlock()
	if p.instance(id) != i {
		return nil
	}
	return p.destroy(i)
}

// destroy is Delete's, with i locked.
func (p *Provider) destroy(i *instance) error {
	if i.host == nil && i.machine != nil {
		p.stop(i.machine)
		if err := p.removeTree(i.machine.dir); err != nil {
			return err
		}
	}
	p.mu.Lock()
	p.leave(i)
	var err error
	if i.host != nil {
		err = p.saveSlots()
	}
	p.mu.Unlock()
	if i.host == nil {
		p.writeHostsFiles()
	}
	return err
}

// List names the instances, by ID.
func (p *Provider) List(context.Context) ([]provider.Instance, error) {
	p.mu.Lock()
	var all []*instance
	for _, i := range p.instances {
		all = append(all, i)
	}
	p.mu.Unlock()
	slices.SortFunc(all, func(a, b *instance) int { return cmp.Compare(a.id, b.id) })
	var out []provider.Instance
	for _, i := range all {
		out = append(out, *p.describe(i))
	}
	return out, nil
}

func (i *instance) lock(ctx context.Context) error {
	select {
	case i.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (i *instance) unlock() { <-i.busy }

// removeTree removes a machine's folder. Files of a node's other users are not ours to remove, where we
// are not root: a namespace in which they are does it.
func (p *Provider) removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	if rmErr := p.removeInNamespace(dir); rmErr != nil {
		return fmt.Errorf("remove %s: %w", dir, rmErr)
	}
	return nil
}
