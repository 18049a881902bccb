package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/checkout"
	"github.com/gozer-ci/gozer/internal/git"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/layout"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// fromServer reads the recipe of a build that a server ran.
func (f *runFlags) fromServer(cmd *cobra.Command, args []string) (*pipeline.Recipe, map[string]string, error) {
	f.server.tenant = f.local.o.Tenant
	if f.server.tenant == "" {
		f.server.tenant = os.Getenv("GOZER_TENANT")
	}
	c, tenant, err := f.server.open(cmd)
	if err != nil {
		return nil, nil, err
	}
	ctx := cmd.Context()
	id := f.build
	if id == "" && !f.now {
		if id, err = f.newestBuild(ctx, c, tenant, args[0]); err != nil {
			return nil, nil, err
		}
	}
	if id == "" {
		return f.trial(cmd, c, tenant, args[0])
	}
	got, err := c.Recipe(ctx, tenant, id)
	if err != nil {
		return nil, nil, err
	}
	r := &pipeline.Recipe{}
	if err := json.Unmarshal(got.Build, r); err != nil {
		return nil, nil, fmt.Errorf("read the recipe of build %s: %w", id, err)
	}
	if len(args) > 0 && r.Start.Job.Name != args[0] {
		return nil, nil, fmt.Errorf("build %s is of job %s, not %s", id, r.Start.Job.Name, args[0])
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Job %s as build %s had it.\n", r.Start.Job.Name, id)
	return r, got.Remotes, nil
}

func (f *runFlags) newestBuild(ctx context.Context, c *api.Client, tenant, job string) (string, error) {
	number, patchset, _ := strings.Cut(f.change, ",")
	q := url.Values{"job_name": {job}, "limit": {"20"}}
	for name, v := range map[string]string{"change": number, "patchset": patchset, "ref": f.ref, "project": f.where.project, "pipeline": f.where.pipeline, "branch": f.where.branch} {
		if v != "" {
			q.Set(name, v)
		}
	}
	list, err := c.Builds(ctx, tenant, q)
	if err != nil {
		return "", err
	}
	for _, b := range list {
		if b.Result != "SKIPPED" { // which were made of nothing
			return b.UUID, nil
		}
	}
	switch {
	case f.change != "" && f.where.project != "":
		return "", nil
	case f.change != "":
		return "", fmt.Errorf("tenant %s has no finished build of job %s for change %s; with --project the server finds out how it would start now", tenant, job, f.change)
	}
	return "", fmt.Errorf("tenant %s has no finished build of job %s for %s; to run it on checkouts, leave --ref out", tenant, job, f.ref)
}

// trial has the server find out with what the job would start for the change now.
func (f *runFlags) trial(cmd *cobra.Command, c *api.Client, tenant, job string) (*pipeline.Recipe, map[string]string, error) {
	if f.change == "" || f.where.project == "" {
		return nil, nil, errors.New("name the change with --project and --change")
	}
	got, err := c.Trial(cmd.Context(), tenant, f.where.project, f.change, job, f.where.pipeline)
	if err != nil {
		return nil, nil, err
	}
	r := &pipeline.Recipe{}
	if err := json.Unmarshal(got.Build, r); err != nil {
		return nil, nil, fmt.Errorf("read with what job %s would start: %w", job, err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Job %s as pipeline %s would start it for change %s now.\n", job, r.Pipeline, f.change)
	return r, got.Remotes, nil
}

// fromCheckouts freezes the job as the checkouts declare it, on their files as they are.
func (f *runFlags) fromCheckouts(cmd *cobra.Command, args []string, dir string) (*pipeline.Recipe, map[string]string, error) {
	set, t, err := f.local.one(cmd, args[1:])
	if err != nil {
		return nil, nil, err
	}
	sec, _, err := f.where.choose(t, args[0])
	if err != nil {
		return nil, nil, err
	}
	ctx := cmd.Context()
	r := &pipeline.Recipe{Tenant: t.Name, Repos: map[string]map[string]string{}}
	remotes := map[string]string{}
	for i, p := range t.Projects {
		at := filepath.Join(dir, "sources", fmt.Sprintf("%d.git", i))
		refs, err := mirror(ctx, p, at)
		if err != nil {
			return nil, nil, fmt.Errorf("read the sources of %s in %s: %w", p.Name, p.Dir, err)
		}
		r.Repos[p.Canonical()], remotes[p.Canonical()] = refs, at
	}
	c := sec.Change()
	head := r.Repos[sec.Project.Canonical()]["refs/heads/"+sec.Branch]
	if head == "" {
		return nil, nil, fmt.Errorf("%s has no branch %s", sec.Project.Name, sec.Branch)
	}
	c.NewRev, c.Commit = head, head
	j, err := frozenJob(set, t, sec, c, args[0])
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	start := &pipeline.Start{
		Item: "run", Buildset: "run", Build: "run", Attempt: 1, Job: j, Changes: []*change.Change{c}, Own: []change.Key{c.Key()}, Refs: []change.Key{c.Key()},
		Merge: &pipeline.MergeResult{Commits: []pipeline.Commit{{Project: sec.Project, Branch: sec.Branch, Commit: head, Base: head, Change: c.Key()}}},
		Time:  now, Nodeset: j.Nodeset, PostReview: j.PostReview,
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Job %s for project %s, branch %s, in pipeline %s, on the checkouts as they are.\n", j.Name, sec.Project.Name, sec.Branch, sec.Pipeline)
	return pipeline.NewRecipe(start, t.Name, sec.Pipeline, r.Repos), remotes, nil
}

func frozenJob(s *checkout.Set, t *checkout.Tenant, sec layout.Section, c *change.Change, name string) (*job.Job, error) {
	frozen := t.Layout.Freeze(layout.FreezeInput{Pipeline: sec.Pipeline, Changes: []*change.Change{c}})
	var errs []error
	for _, p := range frozen.Problems {
		errs = append(errs, fmt.Errorf("%s: %s", paths(s)(p.Source, p.Line), p.Short))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if frozen.Graph != nil {
		for _, j := range frozen.Graph.Jobs {
			if j.Name == name {
				return j, nil
			}
		}
	}
	return nil, fmt.Errorf("job %s does not run for project %s, branch %s, in pipeline %s", name, sec.Project.Name, sec.Branch, sec.Pipeline)
}

// mirror copies a checkout's branches and tags into a repository of the run's own, in which the branch that
// the working tree stands for is at the files as they are. The checkout itself is only read.
func mirror(ctx context.Context, p checkout.Project, at string) (map[string]string, error) {
	g, err := git.Init(git.Config{Dir: at}, p.Default)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	source, err := filepath.Abs(p.Dir)
	if err != nil {
		return nil, err
	}
	err = g.Fetch(ctx, git.Remote{URL: source}, git.FetchOptions{Refspecs: []string{"+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"}})
	if err != nil {
		return nil, err
	}
	for _, b := range p.Branches {
		commit := ""
		if b.From == "" {
			commit, err = snapshot(ctx, source, at)
		} else {
			commit, err = capture(ctx, source, nil, "rev-parse", "--verify", b.From+"^{commit}")
			if err == nil {
				err = g.Fetch(ctx, git.Remote{URL: source}, git.FetchOptions{Refspecs: []string{"+" + commit + ":refs/heads/" + b.Name}})
			}
		}
		if err != nil {
			return nil, err
		}
		if err := g.UpdateRefs(ctx, git.RefUpdate{Ref: "refs/heads/" + b.Name, New: commit}); err != nil {
			return nil, err
		}
	}
	all, err := g.Refs(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, r := range all {
		out[r.Name] = r.Commit
	}
	return out, nil
}

// snapshot makes a commit of a working tree as it is, on top of its HEAD, in another repository.
func snapshot(ctx context.Context, tree, into string) (string, error) {
	objects, err := capture(ctx, tree, nil, "rev-parse", "--path-format=absolute", "--git-path", "objects")
	if err != nil {
		return "", err
	}
	head, err := capture(ctx, tree, nil, "rev-parse", "--verify", "-q", "HEAD")
	if err != nil {
		return "", fmt.Errorf("it has no commit yet: %w", err)
	}
	index := filepath.Join(into, "snapshot-index")
	defer os.Remove(index)
	env := []string{"GIT_INDEX_FILE=" + index, "GIT_OBJECT_DIRECTORY=" + filepath.Join(into, "objects"), "GIT_ALTERNATE_OBJECT_DIRECTORIES=" + objects,
		"GIT_AUTHOR_NAME=gozer run", "GIT_AUTHOR_EMAIL=gozer@localhost", "GIT_COMMITTER_NAME=gozer run", "GIT_COMMITTER_EMAIL=gozer@localhost"}
	for _, args := range [][]string{{"read-tree", "HEAD"}, {"add", "-A"}} {
		if _, err := capture(ctx, tree, env, args...); err != nil {
			return "", err
		}
	}
	now, err := capture(ctx, tree, env, "write-tree")
	if err != nil {
		return "", err
	}
	before, err := capture(ctx, tree, nil, "rev-parse", "HEAD^{tree}")
	if err != nil {
		return "", err
	}
	commit := head
	if now != before {
		if commit, err = capture(ctx, tree, env, "commit-tree", now, "-p", head, "-m", "The working tree as it is"); err != nil {
			return "", err
		}
	}
	// The history comes over, too; what is new is here already.
	g, err := git.Open(git.Config{Dir: into})
	if err != nil {
		return "", err
	}
	defer g.Close()
	return commit, g.Fetch(ctx, git.Remote{URL: tree}, git.FetchOptions{Refspecs: []string{"+" + head + ":refs/gozer/head"}})
}

// capture runs git in a folder and gives what it prints.
func capture(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		err = fmt.Errorf("git %s: %s", strings.Join(args, " "), strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}
