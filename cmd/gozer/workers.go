package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/executor"
	"github.com/gozer-ci/gozer/internal/merger"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/sandbox"
	"github.com/gozer-ci/gozer/internal/scheduler"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/web"
	ui "github.com/gozer-ci/gozer/web"
)

func (p *process) runExecutor(ctx context.Context) error {
	denied, err := p.denied(ctx)
	if err != nil {
		return err
	}
	sb, err := sandbox.New(ctx, sandbox.Config{Cgroup: "gozer", Denied: denied, Log: p.log})
	if err != nil {
		return err
	}
	defer sb.Close()
	key, err := p.nodeKey(ctx)
	if err != nil {
		return err
	}
	site, err := siteVariables(p.set.Executor.Variables)
	if err != nil {
		return err
	}
	nodes := executor.StoreNodes{Store: p.store, HoldDefault: p.set.Holds.Default, HoldMax: p.set.Holds.Max}
	c := executor.Config{
		Store: p.store, Session: p.session, ID: p.id, Dir: filepath.Join(p.set.Data, "executor"),
		Ansible: executor.Ansible{Dir: p.set.Ansible.Dir, Default: p.set.Ansible.Default},
		Host:    hostname(), Component: p.component, Zone: p.set.Executor.Zone, AllowUnzoned: p.set.Executor.AllowUnzoned, Sandbox: sb, Logs: p.logs, Sources: p.repos, Remerge: merger.Repeat, Nodes: nodes, Hold: nodes.Hold,
		Secrets: p.keys, Keys: [][]byte{key}, SiteVariables: site,
		WinRM: executor.WinRM{Cert: p.set.Executor.WinRMCert, Key: p.set.Executor.WinRMKey,
			Operation: p.set.Executor.WinRMOperation, Read: p.set.Executor.WinRMRead},
		Callbacks: p.set.Executor.Callbacks, CallbackDir: p.set.Executor.CallbackPlugins,
		Sensors:   executor.Sensors{Load: p.set.Executor.LoadMultiplier, Disk: p.set.Executor.MinFreeDisk, Inodes: p.set.Executor.MinFreeInodes, Memory: p.set.Executor.MinFreeMemory},
		Trusted:   executor.Paths{ReadOnly: p.set.Executor.TrustedReadOnly, Writable: p.set.Executor.TrustedWritable},
		Untrusted: executor.Paths{ReadOnly: p.set.Executor.UntrustedReadOnly, Writable: p.set.Executor.UntrustedWritable},
		Builds:    p.set.Executor.Builds, Limits: executor.Limits{Disk: int64(p.set.Executor.DiskPerBuild) << 20}, Log: p.log,
	}
	serve, err := p.serveLogs(ctx, &c)
	if err != nil {
		return err
	}
	x, err := executor.New(c)
	if err != nil {
		return err
	}
	defer x.Close()
	p.executor.Store(x)
	if p.draining.Load() {
		p.drain()
	}
	err = together(ctx, x.Run, func(ctx context.Context) error { return serve(ctx, x) }, p.recoverLogs,
		func(ctx context.Context) error { return p.serveCommands(ctx, x) })
	if !errors.Is(err, executor.ErrStopped) {
		return err
	}
	if slices.Equal(p.roles, onlyExecutor) {
		return err // and with it the process
	}
	p.log.Info("the executor has stopped, as it was told to; the other roles of this process go on")
	<-ctx.Done()
	return ctx.Err()
}

// onlyExecutor are the roles of a process that is an executor and nothing else.
var onlyExecutor = []string{"executor"}

// drain has the executor stop when its builds have ended, and with it the process.
func (p *process) drain() {
	p.log.Info("told to stop; the builds that run end first (a second signal ends them)")
	p.draining.Store(true)
	if x := p.executor.Load(); x != nil {
		_ = x.Command(context.Background(), "graceful", "", "") // which it knows
	}
}

// nodeKey is the key with which nodes are reached: that of the settings, or the one that the first launcher
// makes, for which it waits.
func (p *process) nodeKey(ctx context.Context) ([]byte, error) {
	if file := p.set.Launcher.Key; file != "" {
		return os.ReadFile(file)
	}
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

// trial finds out with what a job would start for a change.
func (p *process) trial(ctx context.Context, tenant, project, number, job, pipe string) (*pipeline.Recipe, error) {
	m := merger.New(merger.Config{Store: p.store, Repos: p.repos, ID: p.id, Log: p.log})
	t := &scheduler.Trial{Store: p.store, Forges: p.forges, Tenants: p.tenants, Merge: m.Merge, RepoState: m.RepoState}
	return t.Recipe(ctx, scheduler.TrialOf{Tenant: tenant, Project: project, Change: number, Job: job, Pipeline: pipe})
}

func (p *process) runWeb(ctx context.Context) error {
	mounts := map[string]http.Handler{}
	for _, c := range p.connections {
		for prefix, h := range c.mounts {
			mounts[prefix] = h
		}
	}
	who, err := p.authorizer()
	if err != nil {
		return err
	}
	srv, err := web.New(web.Config{
		Auth:  who,
		Store: p.store, History: p.history, Logs: p.logs, Layouts: layouts{p.tenants}, Keys: publicKeys{p.tenants, p.keys}, Connections: p.shown(), Mounts: mounts,
		Remote: p.publicRemote, Trial: p.trial, Assets: ui.Files(), Public: strings.TrimSuffix(p.set.Root, "/"), Health: p.whyNotReady, Version: version, Log: p.log,
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
