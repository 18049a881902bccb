package gatetest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/executor"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Own is the change or ref that the build belongs to.
func (b *Build) Own() *change.Change {
	for _, c := range b.Changes {
		if len(b.Refs) > 0 && c.Key() == b.Refs[0] {
			return c
		}
	}
	return nil
}

// state is the repository state of a build's buildset.
func (x *Builds) state(ctx context.Context, b *Build) (map[string]map[string]string, error) {
	if b.Merge == nil || b.Merge.RepoState == "" {
		return nil, nil
	}
	x.mu.Lock()
	st, ok := x.repos[b.Merge.RepoState]
	x.mu.Unlock()
	if ok {
		return st, nil
	}
	if err := x.sys.Store.JSON(ctx, b.Merge.RepoState, &st); err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.repos[b.Merge.RepoState] = st
	return st, nil
}

// Log lists the messages of the commits that a build's workspace has checked out of a project, oldest
// first; ok is false where the project is not there.
func (x *Builds) Log(ctx context.Context, b *Build, project string) (messages []string, ok bool, err error) {
	st, err := x.state(ctx, b)
	if err != nil {
		return nil, false, err
	}
	list, err := executor.Checkouts(b.Start, x.sys.Repos, st)
	if err != nil {
		return nil, false, err
	}
	i := slices.IndexFunc(list, func(c executor.Checkout) bool { return c.Project.Name == project })
	if i < 0 {
		return nil, false, nil
	}
	id := list[i].Commit
	x.mu.Lock()
	messages, ok = x.titles[id]
	x.mu.Unlock()
	if ok {
		return messages, true, nil
	}
	r, err := git.Open(git.Config{Dir: x.sys.Repos.Path(list[i].Project)})
	if err != nil {
		return nil, false, err
	}
	defer r.Close()
	log, err := r.Log(ctx, git.LogOptions{From: []string{id}})
	if err != nil {
		return nil, false, err
	}
	for _, c := range log {
		messages = append(messages, strings.TrimSpace(c.Message))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.titles[id] = messages
	return messages, true, nil
}

// preflight tells what keeps a build from running its playbooks.
func (x *Builds) preflight(ctx context.Context, b *Build) (pipeline.Result, string, error) {
	st, err := x.state(ctx, b)
	if err != nil {
		return "", "", err
	}
	return executor.Preflight(b.Start, x.sys.Repos, st, func(p change.Project, commit string) ([]string, error) {
		x.mu.Lock()
		list, ok := x.trees[commit]
		x.mu.Unlock()
		if ok {
			return list, nil
		}
		r, err := git.Open(git.Config{Dir: x.sys.Repos.Path(p)})
		if err != nil {
			return nil, err
		}
		defer r.Close()
		all, err := r.ListFiles(ctx, commit, "")
		if err != nil {
			return nil, err
		}
		for _, e := range all {
			list = append(list, e.Path)
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		x.trees[commit] = list
		return list, nil
	})
}

// Has tells whether a build's workspace has a commit of a project, by its message.
func (x *Builds) Has(ctx context.Context, b *Build, project, message string) (bool, error) {
	list, _, err := x.Log(ctx, b, project)
	return slices.ContainsFunc(list, func(m string) bool {
		first, _, _ := strings.Cut(m, "\n")
		return first == message
	}), err
}

// Vars are the variables of a build's job: what its parents returned, the files of variables, and the job's
// own.
func (x *Builds) Vars(ctx context.Context, b *Build) (map[string]any, error) {
	vars := map[string]any{}
	for k, v := range b.ParentData {
		if k != "zuul" {
			vars[k] = v
		}
	}
	st, err := x.state(ctx, b)
	if err != nil {
		return nil, err
	}
	for _, iv := range b.Job.IncludeVars {
		p := iv.Project
		if iv.ZuulProject {
			p = b.Own().Project
		}
		at, err := executor.CheckoutOf(b.Start, x.sys.Repos, st, p, iv.UseRef)
		if err != nil {
			return nil, err
		}
		r, err := git.Open(git.Config{Dir: x.sys.Repos.Path(p)})
		if err != nil {
			return nil, err
		}
		text, err := r.ReadFile(ctx, at.Commit, iv.Path)
		_ = r.Close()
		if err != nil {
			if iv.Required {
				return nil, fmt.Errorf("include-vars %s: %w", iv.Path, err)
			}
			continue
		}
		var more map[string]any
		if err := yaml.Unmarshal(text, &more); err != nil {
			return nil, err
		}
		vars = ansible.Merge(vars, more)
	}
	return ansible.Merge(vars, b.Job.Vars), nil
}

// Zuul are the variables that describe the item.
func (b *Build) Zuul() map[string]any { return executor.ZuulVariables(b.Start, b.Tenant, b.Pipeline) }
