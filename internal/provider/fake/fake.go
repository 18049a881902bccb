// Package fake is a provider whose nodes exist only in memory. It keeps every promise of the seam, and
// does what a test tells it to: be slow, fail, lose an instance, keep one that nobody knows of.
package fake

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/provider"
)

// Provider is the fake.
type Provider struct {
	name   string
	labels []provider.Label

	mu        sync.Mutex
	instances map[string]*provider.Instance
	fail      []error
	boot      time.Duration
	up        map[string]time.Time
	made      int
	bare      bool
}

var _ provider.Provider = (*Provider)(nil)

// New makes a provider.
func New(name string, labels ...provider.Label) *Provider {
	return &Provider{name: name, labels: labels, instances: map[string]*provider.Instance{}, up: map[string]time.Time{}}
}

// FailNext makes the next calls of Create fail, each with the next of these errors.
func (p *Provider) FailNext(errs ...error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = append(p.fail, errs...)
}

// BootTakes sets how long instances made from now on take until they are up.
func (p *Provider) BootTakes(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.boot = d
}

// Bare makes instances from now on lack what their labels promise, as those of a cloud do.
func (p *Provider) Bare() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bare = true
}

// Vanish removes an instance behind the launcher's back, as a cloud does.
func (p *Provider) Vanish(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.instances, id)
}

// Leak adds an instance that no node record knows of.
func (p *Provider) Leak(id, label string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.instances[id] = &provider.Instance{ID: id, Label: label}
}

// Made tells how many instances were made since the beginning.
func (p *Provider) Made() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made
}

// Name is the provider's.
func (p *Provider) Name() string { return p.name }

// Labels are those given to New.
func (p *Provider) Labels() []provider.Label { return slices.Clone(p.labels) }

// Create makes an instance, unless a failure is due.
func (p *Provider) Create(ctx context.Context, s provider.Spec) (*provider.Instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if i := p.instances[s.ID]; i != nil {
		return p.describe(i), nil
	}
	if len(p.fail) > 0 {
		err := p.fail[0]
		p.fail = p.fail[1:]
		return nil, err
	}
	l := slices.IndexFunc(p.labels, func(l provider.Label) bool { return l.Name == s.Label })
	if l < 0 {
		return nil, fmt.Errorf("provider %s has no label %q: %w", p.name, s.Label, provider.ErrImpossible)
	}
	same := 0
	for _, i := range p.instances {
		if i.Label == s.Label {
			same++
		}
	}
	if p.labels[l].Max > 0 && same >= p.labels[l].Max {
		return nil, fmt.Errorf("%d nodes of label %s are there: %w", same, s.Label, provider.ErrQuota)
	}
	p.made++
	i := &provider.Instance{ID: s.ID, Label: s.Label, Access: node.Access{
		Connection: "ssh", Host: fmt.Sprintf("192.0.2.%d", p.made%254+1), Port: 22, User: "zuul",
		HostKeys: []string{"ssh-ed25519 " + s.ID}, Cloud: p.name, Features: p.labels[l].Features,
	}}
	if p.bare {
		i.Features = nil
	}
	p.instances[s.ID] = i
	p.up[s.ID] = time.Now().Add(p.boot)
	return p.describe(i), nil
}

// describe copies what can be said of an instance now; p.mu is held.
func (p *Provider) describe(i *provider.Instance) *provider.Instance {
	out := *i
	if out.Up = !time.Now().Before(p.up[i.ID]); !out.Up {
		out.Why = "it boots"
	}
	return &out
}

// Describe tells how an instance is.
func (p *Provider) Describe(_ context.Context, id string) (*provider.Instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.instances[id]
	if i == nil {
		return nil, fmt.Errorf("node %s: %w", id, provider.ErrNotFound)
	}
	return p.describe(i), nil
}

// Delete removes an instance.
func (p *Provider) Delete(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.instances, id)
	delete(p.up, id)
	return nil
}

// List names the instances, by ID.
func (p *Provider) List(context.Context) ([]provider.Instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []provider.Instance
	for _, i := range slices.SortedFunc(maps.Values(p.instances), func(a, b *provider.Instance) int { return cmp.Compare(a.ID, b.ID) }) {
		out = append(out, *p.describe(i))
	}
	return out, nil
}
