package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/executor"
	"github.com/gozer-ci/gozer/internal/launcher"
	"github.com/gozer-ci/gozer/internal/merger"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/sandbox"
	"github.com/gozer-ci/gozer/internal/settings"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/web"
	ui "github.com/gozer-ci/gozer/web"

	sandboxnodes "github.com/gozer-ci/gozer/internal/provider/sandbox"
)

// openProviders makes the providers of the configuration.
func (p *process) openProviders(ctx context.Context) error {
	for _, c := range p.set.Providers {
		if c.Driver != "sandbox" {
			return fmt.Errorf("provider %s: this gozer has no driver %q yet", c.Name, c.Driver)
		}
		pr, err := sandboxnodes.Open(ctx, p.sandboxNodes(c))
		if err != nil {
			return fmt.Errorf("provider %s: %w", c.Name, err)
		}
		p.onClose(pr.Close)
		p.providers[c.Name] = pr
	}
	return nil
}

func (p *process) sandboxNodes(c settings.Provider) sandboxnodes.Config {
	out := sandboxnodes.Config{Name: c.Name, Folder: filepath.Join(p.set.Data, "nodes", c.Name), Log: p.log,
		ReadOnly: append([]string{p.set.Ansible.Dir}, c.ReadOnly...)}
	for _, l := range c.Labels {
		out.Labels = append(out.Labels, sandboxnodes.Label{Name: l.Name, Max: l.Max, MinReady: l.MinReady, Features: l.Features})
	}
	for _, h := range c.Hosts {
		out.Hosts = append(out.Hosts, sandboxnodes.Host{Name: h.Name, Labels: h.Labels, Slots: h.Slots})
	}
	return out
}

func (p *process) runLauncher(ctx context.Context) error {
	c := launcher.Config{Store: p.store, Session: p.session, ID: p.id, Version: version, Log: p.log}
	for _, pr := range p.providers {
		c.Providers = append(c.Providers, pr)
	}
	return launcher.New(c).Run(ctx)
}

func (p *process) runExecutor(ctx context.Context) error {
	sb, err := sandbox.New(ctx, sandbox.Config{Cgroup: "gozer", Log: p.log})
	if err != nil {
		return err
	}
	key, err := p.nodeKey(ctx)
	if err != nil {
		return err
	}
	site, err := siteVariables(p.set.Executor.Variables)
	if err != nil {
		return err
	}
	nodes := executor.StoreNodes{Store: p.store}
	x, err := executor.New(executor.Config{
		Store: p.store, Session: p.session, ID: p.id, Dir: filepath.Join(p.set.Data, "executor"),
		Ansible: executor.Ansible{Dir: p.set.Ansible.Dir, Default: p.set.Ansible.Default},
		Sandbox: sb, Logs: p.logs, Sources: p.repos, Remerge: merger.Repeat, Nodes: nodes, Hold: nodes.Hold,
		Secrets: p.keys, Keys: [][]byte{key}, SiteVariables: site,
		Builds: p.set.Executor.Builds, Limits: executor.Limits{Disk: int64(p.set.Executor.DiskPerBuild) << 20}, Log: p.log,
	})
	if err != nil {
		return err
	}
	defer x.Close()
	return x.Run(ctx)
}

// nodeKey waits for the key with which nodes are reached, which the first launcher makes.
func (p *process) nodeKey(ctx context.Context) ([]byte, error) {
	keys := store.Records[node.SSHKey](p.store, strings.TrimSuffix(node.KeyRecord, "node-ssh"))
	for {
		k, err := keys.Get(ctx, "node-ssh")
		if err == nil {
			return []byte(k.Value.Private), nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// siteVariables reads the file of variables that beat all others.
func siteVariables(path string) (map[string]any, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the site variables: %w", err)
	}
	out := map[string]any{}
	if err := yaml.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("read the site variables %s: %w", path, err)
	}
	return out, nil
}

func (p *process) runWeb(ctx context.Context) error {
	mounts := map[string]http.Handler{}
	for _, c := range p.connections {
		for prefix, h := range c.mounts {
			mounts[prefix] = h
		}
	}
	srv, err := web.New(web.Config{
		Store: p.store, History: p.history, Logs: p.logs, Layouts: layouts{p.tenants}, Keys: publicKeys{p.tenants, p.keys}, Connections: p.shown(), Mounts: mounts,
		Assets: ui.Files(), Public: strings.TrimSuffix(p.set.Root, "/"), Version: version, Log: p.log,
	})
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	err = serveHTTP(ctx, p.listener, srv, p.log)
	<-done
	return err
}
