package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gozer-ci/gozer/internal/launcher"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/provider"
	"github.com/gozer-ci/gozer/internal/provider/sandbox"
	"github.com/gozer-ci/gozer/internal/provider/static"
	"github.com/gozer-ci/gozer/internal/settings"
)

// providerDrivers make the providers of the configuration: the one place that knows which there are.
var providerDrivers = map[string]func(context.Context, *process, settings.Provider) (provider.Provider, error){
	"sandbox": openSandbox,
	"static":  openStatic,
}

func (p *process) openProviders(ctx context.Context) error {
	for _, c := range p.set.Providers {
		open := providerDrivers[c.Driver]
		if open == nil {
			return fmt.Errorf("provider %s: this gozer has no driver %q yet", c.Name, c.Driver)
		}
		pr, err := open(ctx, p, c)
		if err != nil {
			return fmt.Errorf("provider %s: %w", c.Name, err)
		}
		p.providers[c.Name] = pr
	}
	return nil
}

func openSandbox(ctx context.Context, p *process, c settings.Provider) (provider.Provider, error) {
	conf := sandbox.Config{Name: c.Name, Folder: filepath.Join(p.set.Data, "nodes", c.Name), Log: p.log, ExecutorZone: c.ExecutorZone,
		ReadOnly: append([]string{p.set.Ansible.Dir}, c.ReadOnly...)}
	var err error
	if conf.Denied, err = p.denied(ctx); err != nil {
		return nil, err
	}
	for _, where := range c.Reach {
		at, err := addresses(ctx, where)
		if err != nil {
			return nil, fmt.Errorf("reach %s: %w", where, err)
		}
		if len(at) == 0 {
			return nil, fmt.Errorf("reach: %q is no address with a port (127.0.0.1:3128)", where)
		}
		conf.Reach = append(conf.Reach, at...)
	}
	for _, k := range slices.Sorted(maps.Keys(c.Environment)) {
		conf.Environ = append(conf.Environ, k+"="+c.Environment[k])
	}
	for _, l := range c.Labels {
		conf.Labels = append(conf.Labels, sandbox.Label{Name: l.Name, Max: l.Max, MinReady: l.MinReady,
			MaxReadyAge: l.MaxReadyAge, MaxAge: l.MaxAge, Features: l.Features, OwnUser: l.OwnUser})
	}
	for _, h := range c.Hosts {
		conf.Hosts = append(conf.Hosts, sandbox.Host{Name: h.Name, Labels: h.Labels, Slots: h.Slots, Features: h.Features})
	}
	pr, err := sandbox.Open(ctx, conf)
	if err != nil {
		return nil, err
	}
	p.onClose(pr.Close)
	return pr, nil
}

func openStatic(_ context.Context, p *process, c settings.Provider) (provider.Provider, error) {
	conf := static.Config{Name: c.Name, Folder: filepath.Join(p.set.Data, "nodes", c.Name), Log: p.log}
	for _, h := range c.Hosts {
		conf.Hosts = append(conf.Hosts, static.Host{Name: h.Name, Labels: h.Labels, Slots: h.Slots, Access: node.Access{
			Connection: h.Connection, Host: h.Address, Port: h.Port, User: cmp.Or(h.User, "zuul"), HostKeys: h.Keys, Python: h.Python, Shell: h.Shell, HangUp: h.HangUp,
			Features: h.Features, ExecutorZone: c.ExecutorZone,
		}})
	}
	return static.Open(conf)
}

func (p *process) runLauncher(ctx context.Context) error {
	set := p.set.Launcher
	c := launcher.Config{Store: p.store, Session: p.session, ID: p.id, Version: version, Log: p.log,
		MaxNodes: map[string]int{}, BootTimeouts: map[string]time.Duration{}, Features: launcher.BuiltinFeatures(),
		Limits: node.Limits{MaxAttempts: set.Attempts, MaxReadyAge: set.MaxReadyAge, TenantNodes: set.TenantNodes}}
	for name, f := range set.Features {
		c.Features[name] = launcher.Feature(f)
	}
	if set.Key != "" {
		var err error
		if c.Key, err = os.ReadFile(set.Key); err != nil {
			return fmt.Errorf("read the key for nodes: %w", err)
		}
	}
	for _, pr := range p.set.Providers {
		c.MaxNodes[pr.Name], c.BootTimeouts[pr.Name] = pr.MaxNodes, pr.BootTimeout
	}
	for _, name := range slices.Sorted(maps.Keys(p.providers)) {
		c.Providers = append(c.Providers, p.providers[name])
	}
	return launcher.New(c).Run(ctx)
}
