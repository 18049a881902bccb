package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// sources fills the workspace: every project that the job has to do with, at the commits that the
// buildset recorded.
func (b *build) sources(ctx context.Context) error {
	b.console.line("Updating git repos")
	b.states = states{}
	if b.s.Merge != nil && b.s.Merge.RepoState != "" {
		if err := b.x.Blob(ctx, b.s.Merge.RepoState, &b.states); err != nil {
			return fmt.Errorf("read the repository state %s: %w", b.s.Merge.RepoState, err)
		}
	}
	if err := b.x.views.ensure(ctx, b.s); err != nil {
		return err
	}
	b.spec, b.bases = speculative(b.states, b.s.Merge)
	// One step does what these lines tell of; people and tools know them in this order.
	b.console.line("Cloning repos into workspace")
	b.console.line("Restoring repo states")
	if len(b.s.Operations) > 0 {
		b.console.line("Merging changes")
	}
	want, err := b.wanted()
	if err != nil {
		return err
	}
	if b.s.Job.WorkspaceCheckout == "false" {
		want = nil
	}
	for _, p := range want {
		all := b.spec[p.project.Canonical()]
		if err := b.x.views.workspace(ctx, b.s.Buildset, p.project, all, b.bases[p.project.Canonical()], p.at, b.dir.work(p.srcDir)); err != nil {
			return fmt.Errorf("put %s into the workspace: %w", p.project, err)
		}
	}
	b.console.line("Checking out repos")
	return b.writeWorkspaceRepos()
}

// wanted lists the projects of the workspace with their checkouts: those of all changes, and the
// required ones.
func (b *build) wanted() ([]project, error) {
	required := map[change.Project]job.RequiredProject{}
	var order []change.Project
	add := func(p change.Project) {
		if !slices.Contains(order, p) {
			order = append(order, p)
		}
	}
	for _, r := range b.s.Job.RequiredProjects {
		required[r.Project] = r
		add(r.Project)
	}
	for _, c := range b.s.Changes {
		add(c.Project)
	}
	dirs := map[string]change.Project{}
	for _, p := range order {
		r, isRequired := required[p]
		at, err := b.choose(p, r.OverrideCheckout, r.OverrideBranch, true)
		if err != nil {
			return nil, halt{pipeline.ErrorResult, err.Error()}
		}
		dir := srcDir(p, b.s.Job.WorkspaceScheme)
		if other, taken := dirs[dir]; taken {
			return nil, halt{pipeline.ErrorResult, fmt.Sprintf("%s and %s would both be at %s with workspace scheme %s", other, p, dir, b.s.Job.WorkspaceScheme)}
		}
		dirs[dir] = p
		b.projects = append(b.projects, project{p, dir, isRequired, at})
	}
	return b.projects, nil
}

func (b *build) choose(p change.Project, override, branch string, useRef bool) (checkout, error) {
	all := b.spec[p.Canonical()]
	return choose(all, wish{project: p, override: override, branch: branch, job: b.s.Job, item: b.primary, useRef: useRef,
		fallback: b.fallback(p, all)})
}

// fallback is the default branch: what HEAD of the copy names, or the customary ones.
func (b *build) fallback(p change.Project, all refs) string {
	for _, name := range []string{b.x.views.head(p), "master", "main"} {
		if _, _, ok := all.find(name); ok {
			return name
		}
	}
	return "master"
}

// writeWorkspaceRepos notes how the workspace came about, for people who want to repeat it.
func (b *build) writeWorkspaceRepos() error {
	ops := []any{}
	for _, p := range b.projects {
		ops = append(ops, object{"cmd": list([]string{"git", "checkout", strings.TrimPrefix(p.at.Name, "refs/heads/")}),
			"timestamp": b.s.Time.Unix(), "comment": p.at.Why, "path": p.srcDir})
	}
	for _, op := range b.s.Operations {
		ops = append(ops, object{"cmd": list([]string{"git", "merge", op.Ref}), "timestamp": b.s.Time.Unix(),
			"comment": op.Mode, "path": srcDir(op.Project, b.s.Job.WorkspaceScheme)})
	}
	text, err := json.MarshalIndent(object{"repo_state": b.states, "merge_ops": ops, "merge_name": "Gozer", "merge_email": "gozer@localhost"}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir.logs(), "workspace-repos.json"), text, 0o644)
}

// includeVars reads the files of include-vars, later over earlier.
func (b *build) includeVars(ctx context.Context) (object, error) {
	b.included = []any{}
	vars := object{}
	for _, iv := range b.s.Job.IncludeVars {
		p, at, err := b.includeCheckout(iv)
		if err != nil {
			return nil, err
		}
		dir, release, err := b.x.views.tree(ctx, p, at.Commit)
		if err != nil {
			return nil, err
		}
		b.releases = append(b.releases, release)
		more, err := readVars(dir, iv.Path)
		switch {
		case os.IsNotExist(err) && !iv.Required:
			continue
		case os.IsNotExist(err):
			return nil, noVars(iv, p, at)
		case err != nil:
			return nil, halt{pipeline.ErrorResult, fmt.Sprintf("include-vars %s of %s: %v", iv.Path, p, err)}
		}
		vars = ansible.Merge(vars, more)
		b.included = append(b.included, object{"name": iv.Path, "project": p.Canonical(), "checkout": at.Name, "commit": at.Commit})
	}
	return vars, nil
}

// includeCheckout tells where a file of include-vars is read: in which repository, and at which commit.
func (b *build) includeCheckout(iv job.IncludeVars) (change.Project, checkout, error) {
	p := iv.Project
	if iv.ZuulProject {
		p = b.primary.Project
	}
	at, err := b.choose(p, "", "", iv.UseRef)
	if err != nil {
		err = halt{pipeline.ErrorResult, "include-vars " + iv.Path + ": " + err.Error()}
	}
	return p, at, err
}

func noVars(iv job.IncludeVars, p change.Project, at checkout) error {
	return halt{pipeline.ErrorResult, fmt.Sprintf("Required vars file %s not found in %s@%s", iv.Path, p, at.Name)}
}

// readVars reads a file of variables that lies in dir, wherever links in it may point.
func readVars(dir, path string) (object, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4<<20))
	if err != nil {
		return nil, err
	}
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	plain, err := ansible.Plain(v)
	if err != nil {
		return nil, err
	}
	m, ok := plain.(object)
	if !ok && plain != nil {
		return nil, fmt.Errorf("it holds no dictionary of variables")
	}
	return m, nil
}
